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

constexpr Kernels kKernels = {
    "avx2", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, finish, finish_swiglu, layer_norm, rms_norm, softmax,
    exp_sum, scale,
};

}  // namespace

const Kernels* avx2_kernels() { return &kKernels; }

}  // namespace tessera::cpu
