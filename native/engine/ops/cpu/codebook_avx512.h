/**
 * Owns looking up the values of codebook weights (NF4, FP4) with AVX-512 (BW), on their way to memory or straight into the
 * products of few rows. Included by kernels_*.cpp inside its own namespace, after codebook_tiles.h. `vpermw` takes the
 * five lowest bits of a word as an index: with the 16 values twice in a vector the fifth does not matter, so that a code
 * costs a quarter of a shift and half of a look-up. Limit: shifts, look-ups and products, of which 11 are 64 bytes of
 * codes: about 7.5 cycles for one row, or 34 GB/s a core; beyond, reading. Expects of the set:
 *   add_pair(sum, weights, pair)  sums of 2 products a lane, the activations from memory
 */

/** Bytes ahead that codes are asked for on their way to memory. */
constexpr size_t kCodebookAhead = 3456;
/** The same of products with few rows: from L2, where many lines can be on their way at once, and from memory. */
constexpr size_t kCodebookNear = 1024;
constexpr size_t kCodebookFar = 8192;

inline void ask_for_codes(const char* codes) {
  _mm_prefetch(codes + kCodebookFar, _MM_HINT_T1);
  _mm_prefetch(codes + kCodebookNear, _MM_HINT_T0);
}

/** Pair of columns `nibble` of a line of codes, 16 rows. */
inline __m512i codebook_pair(__m512i codes, int nibble, __m512i values) {
  return _mm512_permutexvar_epi16(nibble == 0 ? codes : _mm512_srli_epi16(codes, 4 * nibble), values);
}

void codebook_look_up(const void* blocks, const Codebook& codebook, size_t count, void* out) {
  const __m512i values = _mm512_loadu_si512(codebook.values);
  const char* from = static_cast<const char*>(blocks);
  char* to = static_cast<char*>(out);
  for (size_t block = 0; block < count; block++, from += kCodebookBlockBytes, to += kExpandedBlockBytes) {
    __builtin_memcpy(to, from, kPanelWidth * 4);
    const char* codes = from + kPanelWidth * 4;
    char* pairs = to + kPanelWidth * 4;
    for (int line = 0; line < 8; line++, codes += 128, pairs += 8 * kPanelWidth * 2) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        _mm_prefetch(codes + 64 * half + kCodebookAhead, _MM_HINT_T0);
        const __m512i four = _mm512_loadu_si512(codes + 64 * half);
#pragma GCC unroll 4
        for (int n = 0; n < 4; n++) _mm512_storeu_si512(pairs + 128 * n + 64 * half, codebook_pair(four, n, values));
      }
    }
  }
}

template <int ROWS>
__attribute__((noinline)) void codebook_code_rows(const char* a, const char* codes, const int16_t* table, size_t count,
                                                  float* c) {
  // One row has too few sums to hide how long each product takes.
  constexpr int kChains = ROWS == 1 ? 2 : 1;
  const __m512i values = _mm512_loadu_si512(table);
  for (size_t block = 0; block < count; block++) {
    const float* row_scales = reinterpret_cast<const float*>(a);
    const float* scales = reinterpret_cast<const float*>(codes);
    const uint32_t* x = reinterpret_cast<const uint32_t*>(a) + ROWS;
    __m512i sum[ROWS][2][kChains];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 2 * kChains; i++) sum[r][i / kChains][i % kChains] = _mm512_setzero_si512();
    }
    ask_for_codes(codes);
    ask_for_codes(codes + 64);
    codes += kPanelWidth * 4;
    for (int line = 0; line < 8; line++, codes += 128, x += 4 * ROWS) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        ask_for_codes(codes + 64 * half);
        const __m512i four = _mm512_load_si512(codes + 64 * half);
#pragma GCC unroll 4
        for (int n = 0; n < 4; n++) {
          const __m512i pair = codebook_pair(four, n, values);
#pragma GCC unroll 8
          for (int r = 0; r < ROWS; r++) add_pair(sum[r][half][n % kChains], pair, x + n * ROWS + r);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        VecInt whole = (VecInt)sum[r][half][0];
        if (kChains == 2) whole += (VecInt)sum[r][half][kChains - 1];
        add_block(c + r * kPanelWidth + 16 * half, whole, load(scales + 16 * half) * splat(row_scales[r]));
      }
    }
    a += ROWS * kActivationBlockBytes;
  }
}

template <int ROWS = kFewRows>
inline void codebook_code_dispatch(int rows, const char* a, const char* codes, const int16_t* table, size_t count,
                                   float* c) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      codebook_code_rows<ROWS>(a, codes, table, count, c);
    } else {
      codebook_code_dispatch<ROWS - 1>(rows, a, codes, table, count, c);
    }
  }
}

void codebook_code_tile(int rows, const void* a, const void* blocks, const Codebook& codebook, size_t count, float* c) {
  __builtin_memset(c, 0, rows * kPanelWidth * sizeof(float));
  codebook_code_dispatch(rows, static_cast<const char*>(a), static_cast<const char*>(blocks), codebook.values, count, c);
}

constexpr CodebookKernel kCodebookKernel = {codebook_pack, codebook_look_up, codebook_tile, kFewRows,
                                            codebook_code_tile};
