/**
 * Owns the kernels for AVX-512 with BF16: `vdpbf16ps` multiplies two pairs a lane, twice the rate of fp32. 14 rows x 2
 * vectors of sums fill 28 of 32 registers.
 */
#include <immintrin.h>

#include "ops/cpu/kernels.h"

#define TESSERA_VEC_BYTES 64
#define TESSERA_TILE_ROWS 14

namespace tessera::cpu {
namespace {

#include "ops/cpu/vec.h"

inline Vec load_half(const uint16_t* p) {
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

#include "ops/cpu/rows.h"
#include "ops/cpu/tiles.h"

/** Bytes ahead of its own stream a panel is asked for: what hides memory at one row a panel. */
constexpr size_t kAhead = 1024;

template <int ROWS>
__attribute__((noinline)) void tile_pairs(const uint16_t* a, const uint16_t* b, size_t steps, float* c, size_t stride,
                                          bool accumulate) {
  __m512 sum[ROWS][2];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) sum[r][v] = accumulate ? _mm512_loadu_ps(c + r * stride + v * 16) : _mm512_setzero_ps();
  }
  for (size_t k = 0; k < steps; k++) {
    __m512i w[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
      w[v] = _mm512_load_si512(b + v * 32);
      if (ROWS <= 4) _mm_prefetch(reinterpret_cast<const char*>(b + v * 32) + kAhead, _MM_HINT_T0);
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      int32_t pair;
      __builtin_memcpy(&pair, a + 2 * r, 4);
      __m512i x = _mm512_set1_epi32(pair);
      asm("" : "+v"(x));  // one broadcast for both products, not one each
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)w[v], (__m512bh)x);
    }
    a += 2 * ROWS;
    b += 2 * kPanelWidth;
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) _mm512_storeu_ps(c + r * stride + v * 16, sum[r][v]);
  }
}

template <int ROWS = kTileRows>
inline void dispatch_pairs(int rows, const uint16_t* a, const uint16_t* b, size_t steps, float* c, size_t stride,
                           bool accumulate) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      tile_pairs<ROWS>(a, b, steps, c, stride, accumulate);
    } else {
      dispatch_pairs<ROWS - 1>(rows, a, b, steps, c, stride, accumulate);
    }
  }
}

void tile_bf16(int rows, const void* a, const void* panel, size_t steps, float* c, size_t stride, bool accumulate) {
  dispatch_pairs(rows, static_cast<const uint16_t*>(a), static_cast<const uint16_t*>(panel), steps, c, stride,
                 accumulate);
}

void pack_bf16(const float* x, size_t stride, int rows, size_t k, void* packed) {
  for (int r = 0; r < rows; r++) {
    const float* row = x + r * stride;
    uint32_t* out = static_cast<uint32_t*>(packed) + r;
    size_t i = 0;
    for (; i + 32 <= k; i += 32) {
      alignas(64) uint32_t pairs[16];
      const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(row + i + 16), _mm512_loadu_ps(row + i));
      _mm512_store_si512(pairs, (__m512i)both);
#pragma GCC unroll 16
      for (int p = 0; p < 16; p++) out[(i / 2 + p) * rows] = pairs[p];
    }
    for (; i < k; i += 2) {
      const uint32_t odd = i + 1 < k ? to_bf16(row[i + 1]) : 0;
      out[i / 2 * rows] = odd << 16 | to_bf16(row[i]);
    }
  }
}

constexpr Kernels kKernels = {
    "avx512_bf16", kTileRows, {2, 2, 2, pack_bf16, tile_bf16}, kF16Kernel, kF32Kernel, finish, finish_swiglu,
    layer_norm, rms_norm, softmax, exp_sum, scale,
};

}  // namespace

const Kernels* avx512_bf16_kernels() { return &kKernels; }

}  // namespace tessera::cpu
