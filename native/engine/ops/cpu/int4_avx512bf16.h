/**
 * Owns the products of AWQ's 4-bit weights with few rows: what int4_avx512.h looks up goes into `vdpbf16ps` from registers.
 * Included by kernels_avx512bf16.cpp after it. Each sum walks K in the order of every bf16 product, so bits are those of
 * the expanded weights.
 */

/** Bytes ahead that scales are asked for, and codes in each half of a block. */
constexpr size_t kCodesAhead = 3456;

template <int ROWS>
__attribute__((noinline)) void int4_rows(const uint16_t* a, const void* groups, const Format4& format, size_t count,
                                         float* c) {
  __m512 sum[ROWS][2];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
  const char* codes = static_cast<const char*>(groups);
  for (size_t g = 0; g < count; g++) {
    alignas(64) __m512i memory[16];
    row_tables4(reinterpret_cast<const float*>(codes), memory);
    const __m512i* tables = memory;
    asm volatile("" : "+r"(tables) : : "memory");  // they stay in L1: as operands there they cost no registers
    for (size_t at = 0; at < format.header_bytes(); at += 64) _mm_prefetch(codes + kCodesAhead + at, _MM_HINT_T0);
    codes += format.header_bytes();
    for (size_t left = format.group_cols / kCodeBlock; left > 0; left--, codes += kCodeBlockBytes / 2) {
      for (int line = 0; line < 8; line++, codes += 64, a += 8 * ROWS) {
        __m512i pairs[2][4];
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
          const char* from = codes + half * (kCodeBlockBytes / 2);
          _mm_prefetch(from + kCodesAhead, _MM_HINT_T0);
          look_up4(from, tables + 8 * half, pairs[half]);
        }
#pragma GCC unroll 4
        for (int p = 0; p < 4; p++) {
#pragma GCC unroll 8
          for (int r = 0; r < ROWS; r++) {
            int32_t pair;
            __builtin_memcpy(&pair, a + 2 * (p * ROWS + r), 4);
            const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
              sum[r][half] = _mm512_dpbf16_ps(sum[r][half], (__m512bh)pairs[half][p], x);
            }
          }
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++) {
    _mm512_storeu_ps(c + r * kPanelWidth, sum[r][0]);
    _mm512_storeu_ps(c + r * kPanelWidth + 16, sum[r][1]);
  }
}

template <int ROWS = kFewRows>
inline void int4_dispatch(int rows, const uint16_t* a, const void* groups, const Format4& format, size_t count,
                          float* c) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      int4_rows<ROWS>(a, groups, format, count, c);
    } else {
      int4_dispatch<ROWS - 1>(rows, a, groups, format, count, c);
    }
  }
}

void int4_tile(int rows, const void* a, const void* groups, const Format4& format, size_t count, float* c) {
  int4_dispatch(rows, static_cast<const uint16_t*>(a), groups, format, count, c);
}

constexpr Int4Kernel kInt4Kernel = {expand4, kFewRows, int4_tile};
