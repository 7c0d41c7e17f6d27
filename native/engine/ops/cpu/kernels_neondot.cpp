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

inline VecInt load_bytes(const uint8_t* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, 4);
  return (VecInt)vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
}
// 16 floats as the 64 bytes of a table: a code's four bytes lie at 4 x code.
using Table4 = uint8x16x4_t;
inline Table4 load_table(const float* values) { return vld1q_u8_x4(reinterpret_cast<const uint8_t*>(values)); }
inline Vec look_up(const Table4& table, VecInt codes) {
  return (Vec)vqtbl4q_u8(table, (uint8x16_t)(codes * splat_int(0x04040404) + splat_int(0x03020100)));
}
inline VecInt bf16_pairs(Vec even, Vec odd) { return round_to_bf16(even) | round_to_bf16(odd) << 16; }

#include "ops/cpu/quant_tiles.h"

constexpr Kernels kKernels = {
    "neon_dot", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, kInt8Kernel, expand4, finish, finish_swiglu,
    nullptr, nullptr, layer_norm, rms_norm, softmax, exp_sum, scale,
};

}  // namespace

const Kernels* neon_dot_kernels() { return &kKernels; }

}  // namespace tessera::cpu
