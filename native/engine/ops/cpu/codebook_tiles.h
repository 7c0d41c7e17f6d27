/**
 * Owns the products of codebook weights (NF4, FP4), written over vec.h for every instruction set. Included by each
 * kernels_*.cpp inside its own namespace, after quant_tiles.h. Values of codes and activations are whole numbers of 16
 * bits: within a block of 64 columns their sums are exact, on every set and in any order; those of blocks are added up
 * in fp32 in the order of K. Limit: as in tiles.h. Expects of the set:
 *   add_pairs(sum, weights, pair)  sums of 2 products a lane
 */

void codebook_pack(const float* x, size_t stride, int rows, size_t k, float unit, void* packed) {
  const float step = 1.0f / (kCodebookActivation * unit);
  char* out = static_cast<char*>(packed);
  for (size_t first = 0; first < k; first += kCodeBlock, out += rows * kActivationBlockBytes) {
    float* scales = reinterpret_cast<float*>(out);
    uint32_t* pairs = reinterpret_cast<uint32_t*>(out) + rows;
    for (int r = 0; r < rows; r++) {
      const float* row = x + r * stride + first;
      const float largest = largest_magnitude(row, kCodeBlock);
      const bool are_numbers = largest < __builtin_inff();
      const float factor = largest > 1e-30f && are_numbers ? kCodebookActivation / largest : 0.0f;
      scales[r] = are_numbers ? largest * step : __builtin_nanf("");
      alignas(64) int16_t whole[kCodeBlock] = {};
      for (size_t i = 0; factor > 0 && i < kCodeBlock; i += kWidth) {
        store_words(round_to_int(load(row + i) * splat(factor)), whole + i);
      }
      if (rows == 1) {
        __builtin_memcpy(pairs, whole, sizeof whole);
        continue;
      }
      for (size_t p = 0; p < kCodeBlock / 2; p++) __builtin_memcpy(pairs + p * rows + r, whole + 2 * p, 4);
    }
  }
}

/** c += a block's sums, each of 16 lanes' width. */
inline void add_block(float* c, VecInt whole, Vec scale) {
  store(c, load(c) + __builtin_convertvector(whole, Vec) * scale);
}

template <int ROWS>
__attribute__((noinline)) void codebook_rows(const char* a, const char* panel, size_t count, float* c) {
  for (size_t block = 0; block < count; block++) {
    const float* row_scales = reinterpret_cast<const float*>(a);
    const float* scales = reinterpret_cast<const float*>(panel);
    for (int col = 0; col < kPanelWidth; col += kTileCols) {
      VecInt sum[ROWS][2] = {};
      const uint32_t* x = reinterpret_cast<const uint32_t*>(a) + ROWS;
      const char* b = panel + kPanelWidth * 4 + col * 4;
      for (size_t p = 0; p < kCodeBlock / 2; p++) {
        const VecInt w[2] = {load_int(b), load_int(b + kWidth * 4)};
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++) add_pairs(sum[r], w, x[r]);
        x += ROWS;
        b += kPanelWidth * 4;
      }
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
          const int at = col + v * kWidth;
          add_block(c + r * kPanelWidth + at, sum[r][v], load(scales + at) * splat(row_scales[r]));
        }
      }
    }
    a += ROWS * kActivationBlockBytes;
    panel += kExpandedBlockBytes;
  }
}

template <int ROWS = kTileRows>
inline void codebook_dispatch(int rows, const char* a, const char* panel, size_t count, float* c) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      codebook_rows<ROWS>(a, panel, count, c);
    } else {
      codebook_dispatch<ROWS - 1>(rows, a, panel, count, c);
    }
  }
}

void codebook_tile(int rows, const void* a, const void* expanded, size_t count, float* c, bool accumulate) {
  if (!accumulate) __builtin_memset(c, 0, rows * kPanelWidth * sizeof(float));
  codebook_dispatch(rows, static_cast<const char*>(a), static_cast<const char*>(expanded), count, c);
}

/** One code after the other. */
void codebook_expand(const void* blocks, const Codebook& codebook, size_t count, void* out) {
  const char* from = static_cast<const char*>(blocks);
  char* to = static_cast<char*>(out);
  for (size_t block = 0; block < count; block++, from += kCodebookBlockBytes, to += kExpandedBlockBytes) {
    __builtin_memcpy(to, from, kPanelWidth * 4);
    const uint16_t* codes = reinterpret_cast<const uint16_t*>(from + kPanelWidth * 4);
    int16_t* values = reinterpret_cast<int16_t*>(to + kPanelWidth * 4);
    for (size_t line = 0; line < 8; line++) {
      for (int half = 0; half < 2; half++) {
        for (int word = 0; word < 32; word++) {
          const uint32_t four = *codes++;
          for (int nibble = 0; nibble < 4; nibble++) {
            const Place4 place = codebook_place(line, half, word, nibble);
            values[place.col / 2 * (2 * kPanelWidth) + 2 * place.row + place.col % 2] =
                codebook.values[four >> (4 * nibble) & 15];
          }
        }
      }
    }
  }
}

[[maybe_unused]] constexpr CodebookKernel kExpandingCodebook = {codebook_pack, codebook_expand, codebook_tile, 0,
                                                                nullptr};
