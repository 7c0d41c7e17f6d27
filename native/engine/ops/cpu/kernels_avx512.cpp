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

inline VecInt load_bytes(const uint8_t* p) {
  return (VecInt)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
using Table4 = __m512;
inline Table4 load_table(const float* values) { return _mm512_loadu_ps(values); }
inline Vec look_up(Table4 table, VecInt codes) { return (Vec)_mm512_permutexvar_ps((__m512i)codes, table); }
inline VecInt bf16_pairs(Vec even, Vec odd) { return round_to_bf16(even) | round_to_bf16(odd) << 16; }

#include "ops/cpu/quant_tiles.h"

constexpr Kernels kKernels = {
    "avx512", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, kInt8Kernel, expand4, finish, finish_swiglu,
    nullptr, nullptr, layer_norm, rms_norm, softmax, exp_sum, scale,
};

}  // namespace

const Kernels* avx512_kernels() { return &kKernels; }

}  // namespace tessera::cpu
