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

inline VecInt load_bytes(const uint8_t* p) {
  return (VecInt)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
struct Table4 {
  __m256 low, high;
};
inline Table4 load_table(const float* values) { return {_mm256_loadu_ps(values), _mm256_loadu_ps(values + 8)}; }
inline Vec look_up(const Table4& table, VecInt codes) {
  const __m256i index = (__m256i)codes;
  const __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));  // bit 3 of the code, as a sign
  return (Vec)_mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, index),
                               _mm256_permutevar8x32_ps(table.high, index), is_high);
}
inline VecInt bf16_pairs(Vec even, Vec odd) { return round_to_bf16(even) | round_to_bf16(odd) << 16; }

#include "ops/cpu/quant_tiles.h"

constexpr Kernels kKernels = {
    "avx2", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, kInt8Kernel, expand4, finish, finish_swiglu,
    nullptr, nullptr, layer_norm, rms_norm, softmax, exp_sum, scale,
};

}  // namespace

const Kernels* avx2_kernels() { return &kKernels; }

}  // namespace tessera::cpu
