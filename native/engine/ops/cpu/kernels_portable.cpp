/** Owns the kernels for any processor: 4 lanes, no assumption beyond the compiler's baseline. */
#include "ops/cpu/kernels.h"

#define TESSERA_VEC_BYTES 16
#define TESSERA_TILE_ROWS 4

namespace tessera::cpu {
namespace {

#include "ops/cpu/vec.h"

// fp16 bits to fp32 by moving exponent and fraction, then scaling by 2^112; exact, subnormals included.
inline Vec load_half(const uint16_t* p) {
  VecInt bits;
  for (int i = 0; i < kWidth; i++) bits[i] = p[i];
  const VecInt magnitude = (bits & splat_int(0x7fff)) << 13;
  const VecInt sign = (bits & splat_int(0x8000)) << 16;
  const Vec scaled = (Vec)magnitude * splat(5.192296858534828e33f);
  const VecInt special = magnitude >= splat_int(0x7c00 << 13) ? (magnitude | splat_int(0x7f800000)) : (VecInt)scaled;
  return (Vec)(special | sign);
}

#include "ops/cpu/rows.h"
#include "ops/cpu/tiles.h"

// Weights of four columns of K in a lane, taken apart by shifts.
using Int8Columns = VecInt;
inline Int8Columns split_columns(VecInt weights) { return weights; }
inline void add_products(VecInt sum[2], const Int8Columns w[2], uint32_t four) {
  for (int i = 0; i < 4; i++) {
    const VecInt x = splat_int(static_cast<int32_t>(four >> (8 * i) & 0xff));
    for (int v = 0; v < 2; v++) sum[v] += ((w[v] << (24 - 8 * i)) >> 24) * x;
  }
}

inline VecInt load_bytes(const uint8_t* p) {
  VecInt out;
  for (int i = 0; i < kWidth; i++) out[i] = p[i];
  return out;
}
using Table4 = const float*;
inline Table4 load_table(const float* values) { return values; }
inline Vec look_up(Table4 table, VecInt codes) {
  Vec out;
  for (int i = 0; i < kWidth; i++) out[i] = table[codes[i]];
  return out;
}
inline VecInt bf16_pairs(Vec even, Vec odd) { return round_to_bf16(even) | round_to_bf16(odd) << 16; }

#include "ops/cpu/quant_tiles.h"

constexpr Kernels kKernels = {
    "portable", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, kInt8Kernel, expand4, finish, finish_swiglu,
    nullptr, nullptr, layer_norm, rms_norm, softmax, exp_sum, scale,
};

}  // namespace

const Kernels* portable_kernels() { return &kKernels; }

}  // namespace tessera::cpu
