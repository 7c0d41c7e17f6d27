/** Owns the kernels for AVX2 with FMA and F16C: 8 lanes, 16 registers. */
#include <immintrin.h>

#include "ops/cpu/kernels.h"

#define TESSERA_VEC_BYTES 32
#define TESSERA_TILE_ROWS 4

namespace tessera::cpu {
namespace {

#include "ops/cpu/vec.h"

inline Vec load_half(const uint16_t* p) {
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

#include "ops/cpu/rows.h"
#include "ops/cpu/tiles.h"

// Products in pairs of 16 bits: the instruction for bytes would saturate.
struct Int8Columns {
  __m256i even, odd;
};
inline Int8Columns split_columns(VecInt weights) {
  const __m256i w = (__m256i)weights;
  return {_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(w, 8)};
}
inline void add_products(VecInt sum[2], const Int8Columns w[2], uint32_t four) {
  const __m256i even = _mm256_set1_epi32(static_cast<int32_t>(four & 0x00ff00ff));
  const __m256i odd = _mm256_set1_epi32(static_cast<int32_t>(four >> 8 & 0x00ff00ff));
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) {
    sum[v] += (VecInt)_mm256_madd_epi16(w[v].even, even) + (VecInt)_mm256_madd_epi16(w[v].odd, odd);
  }
}

inline VecInt round_to_int(Vec x) { return (VecInt)_mm256_cvtps_epi32((__m256)x); }
inline void store_bytes(VecInt whole, uint8_t* p) {
  const __m256i words = _mm256_packus_epi32((__m256i)whole, (__m256i)whole);
  const __m256i bytes = _mm256_packus_epi16(words, words);  // four of each half in its first lane
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p),
                   _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
}
inline void store_words(VecInt whole, int16_t* p) {
  const __m256i words = _mm256_packs_epi32((__m256i)whole, (__m256i)whole);  // four of each half, twice
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_unpacklo_epi64(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

#include "ops/cpu/quant_tiles.h"

inline float round_to_half(float value) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT)));
}

inline void add_pairs(VecInt sum[2], const VecInt w[2], uint32_t pair) {
  const __m256i x = _mm256_set1_epi32(static_cast<int32_t>(pair));
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) sum[v] += (VecInt)_mm256_madd_epi16((__m256i)w[v], x);
}

#include "ops/cpu/int4_tiles.h"
#include "ops/cpu/codebook_tiles.h"

constexpr Kernels kKernels = {
    "avx2", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, kInt8Kernel, kInt4Kernel, kExpandingCodebook, finish,
    finish_swiglu, nullptr, nullptr, layer_norm, rms_norm, softmax, exp_sum, largest, scale,
};

}  // namespace

const Kernels* avx2_kernels() { return &kKernels; }

}  // namespace tessera::cpu
