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

constexpr Kernels kKernels = {
    "portable", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, finish, finish_swiglu, layer_norm, rms_norm, softmax,
    exp_sum, scale,
};

}  // namespace

const Kernels* portable_kernels() { return &kKernels; }

}  // namespace tessera::cpu
