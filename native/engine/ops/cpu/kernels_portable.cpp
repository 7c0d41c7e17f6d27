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

inline VecInt round_to_int(Vec x) {
  VecInt out;
  for (int i = 0; i < kWidth; i++) out[i] = static_cast<int32_t>(__builtin_rintf(x[i]));
  return out;
}
inline void store_bytes(VecInt whole, uint8_t* p) {
  for (int i = 0; i < kWidth; i++) p[i] = static_cast<uint8_t>(whole[i]);
}
inline void store_words(VecInt whole, int16_t* p) {
  for (int i = 0; i < kWidth; i++) p[i] = static_cast<int16_t>(whole[i]);
}

#include "ops/cpu/quant_tiles.h"

/** `to_f16` of half.h and back; fp16 has no more than 65,504, which a published weight stays below. */
inline float round_to_half(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  // Adding 1.5 * 2^13 times the value's power of two rounds to its 11 bits, or to the multiple of 2^-24 of subnormals.
  const uint32_t power = bits & 0x7f800000u;
  const uint32_t least = 0x38800000u;
  const uint32_t magic = (power > least ? power : least) + (13u << 23 | 1u << 22);
  float shift;
  __builtin_memcpy(&shift, &magic, 4);
  const volatile float shifted = value + shift;
  return shifted - shift;
}

inline void add_pairs(VecInt sum[2], const VecInt w[2], uint32_t pair) {
  const VecInt even = splat_int(static_cast<int16_t>(pair));
  const VecInt odd = splat_int(static_cast<int16_t>(pair >> 16));
  for (int v = 0; v < 2; v++) sum[v] += ((w[v] << 16) >> 16) * even + (w[v] >> 16) * odd;
}

#include "ops/cpu/int4_tiles.h"
#include "ops/cpu/codebook_tiles.h"

constexpr Kernels kKernels = {
    "portable", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, kInt8Kernel, kInt4Kernel, kExpandingCodebook,
    finish, finish_swiglu, nullptr, nullptr, layer_norm, rms_norm, softmax, exp_sum, largest, scale,
};

}  // namespace

const Kernels* portable_kernels() { return &kKernels; }

}  // namespace tessera::cpu
