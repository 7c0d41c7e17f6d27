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

constexpr Kernels kKernels = {
    "avx512", kTileRows, kBf16Kernel, kF16Kernel, kF32Kernel, finish, finish_swiglu, layer_norm, rms_norm, softmax,
    exp_sum, scale,
};

}  // namespace

const Kernels* avx512_kernels() { return &kKernels; }

}  // namespace tessera::cpu
