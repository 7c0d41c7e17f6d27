/** Owns the kernels for 64-bit ARM with the dot product of bytes (ARMv8.2 and up): 4 lanes, 32 registers. */
#include <arm_neon.h>

#include "ops/cpu/kernels.h"

#define TESSERA_VEC_BYTES 16
#define TESSERA_TILE_ROWS 10

namespace tessera::cpu {
namespace {

#include "ops/cpu/vec.h"

inline Vec load_half(const uint16_t* p) { return (Vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }

#include "ops/cpu/rows.h"
#include "ops/cpu/tiles.h"

// The instruction wants both sides signed: activations are brought back from 128 too large, and what that takes from
// the sums, 128 times the weights, is added for all rows of a tile alike.
struct Int8Columns {
  int8x16_t weights;
  int32x4_t offset;
};
inline Int8Columns split_columns(VecInt weights) {
  const int8x16_t w = (int8x16_t)weights;
  const int8x16_t half = vdupq_n_s8(64);
  return {w, vdotq_s32(vdotq_s32(vdupq_n_s32(0), w, half), w, half)};
}
inline void add_products(VecInt sum[2], const Int8Columns w[2], uint32_t four) {
  const int8x16_t x = vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) sum[v] = (VecInt)vdotq_s32(vaddq_s32((int32x4_t)sum[v], w[v].offset), w[v].weights, x);
}

inline VecInt round_to_int(Vec x) { return (VecInt)vcvtnq_s32_f32((float32x4_t)x); }
inline void store_bytes(VecInt whole, uint8_t* p) {
  const uint16x4_t words = vmovn_u32((uint32x4_t)whole);
  const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
  vst1_lane_u32(reinterpret_cast<uint32_t*>(p), vreinterpret_u32_u8(bytes), 0);
}
inline void store_words(VecInt whole, int16_t* p) { vst1_s16(p, vmovn_s32((int32x4_t)whole)); }
inline float round_to_half(float value) {
  return vgetq_lane_f32(vcvt_f32_f16(vcvt_f16_f32(vdupq_n_f32(value))), 0);
}

inline void add_pairs(VecInt sum[2], const VecInt w[2], uint32_t pair) {
  const int16x8_t x = vreinterpretq_s16_u32(vdupq_n_u32(pair));
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) {
    const int16x8_t weights = (int16x8_t)w[v];
    const int32x4_t low = vmull_s16(vget_low_s16(weights), vget_low_s16(x));
    sum[v] += (VecInt)vpaddq_s32(low, vmull_high_s16(weights, x));
  }
}

#include "ops/cpu/quant_tiles.h"

#include "ops/cpu/int4_tiles.h"
#include "ops/cpu/codebook_tiles.h"

constexpr Kernels kKernels = {
    "neon_dot", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, kInt8Kernel, kInt4Kernel, kExpandingCodebook,
    finish, finish_swiglu, nullptr, nullptr, layer_norm, rms_norm, softmax, exp_sum, largest, scale,
};

}  // namespace

const Kernels* neon_dot_kernels() { return &kKernels; }

}  // namespace tessera::cpu
