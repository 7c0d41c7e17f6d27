/** Owns the kernels for AVX-512 (F, BW, VL, DQ) without bf16 instructions: 16 lanes, 32 registers. */
#include <immintrin.h>

#include "ops/cpu/kernels.h"

#define TESSERA_VEC_BYTES 64
#define TESSERA_TILE_ROWS 12

namespace tessera::cpu {
namespace {

#include "ops/cpu/vec.h"

inline Vec load_half(const uint16_t* p) {
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

#include "ops/cpu/rows.h"
#include "ops/cpu/tiles.h"

// Products in pairs of 16 bits: the instruction for bytes would saturate.
struct Int8Columns {
  __m512i even, odd;
};
inline Int8Columns split_columns(VecInt weights) {
  const __m512i w = (__m512i)weights;
  return {_mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8), _mm512_srai_epi16(w, 8)};
}
inline void add_products(VecInt sum[2], const Int8Columns w[2], uint32_t four) {
  const __m512i even = _mm512_set1_epi32(static_cast<int32_t>(four & 0x00ff00ff));
  const __m512i odd = _mm512_set1_epi32(static_cast<int32_t>(four >> 8 & 0x00ff00ff));
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) {
    sum[v] += (VecInt)_mm512_madd_epi16(w[v].even, even) + (VecInt)_mm512_madd_epi16(w[v].odd, odd);
  }
}

inline VecInt round_to_int(Vec x) { return (VecInt)_mm512_cvtps_epi32((__m512)x); }
inline void store_bytes(VecInt whole, uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)whole));
}
inline void store_words(VecInt whole, int16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16((__m512i)whole));
}

#include "ops/cpu/quant_tiles.h"

inline __m512i bf16_words(__m512 low, __m512 high) {
  const __m256i words = _mm512_cvtepi32_epi16((__m512i)round_to_bf16((Vec)low));
  return _mm512_inserti64x4(_mm512_castsi256_si512(words), _mm512_cvtepi32_epi16((__m512i)round_to_bf16((Vec)high)), 1);
}

#include "ops/cpu/int4_avx512.h"

constexpr Int4Kernel kInt4Kernel = {expand4, 0, nullptr};

inline void add_pair(__m512i& sum, __m512i w, const uint32_t* pair) {
  sum = _mm512_add_epi32(sum, _mm512_madd_epi16(w, _mm512_set1_epi32(static_cast<int32_t>(*pair))));
}
inline void add_pairs(VecInt sum[2], const VecInt w[2], uint32_t pair) {
  const __m512i x = _mm512_set1_epi32(static_cast<int32_t>(pair));
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) sum[v] += (VecInt)_mm512_madd_epi16((__m512i)w[v], x);
}

#include "ops/cpu/codebook_tiles.h"
#include "ops/cpu/codebook_avx512.h"

constexpr Kernels kKernels = {
    "avx512", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, kInt8Kernel, kInt4Kernel, kCodebookKernel, finish,
    finish_swiglu, nullptr, nullptr, layer_norm, rms_norm, softmax, exp_sum, largest, scale,
};

}  // namespace

const Kernels* avx512_kernels() { return &kKernels; }

}  // namespace tessera::cpu
