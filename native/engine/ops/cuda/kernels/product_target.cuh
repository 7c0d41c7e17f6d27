/** Owns how a product's sum reaches memory: bias, what was there, and the type of the result. */
#pragma once

#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

__device__ __forceinline__ void store(const ProductTarget& target, int row, int col, float sum) {
  const size_t at = row * target.stride + col;
  if (target.bias != nullptr) sum += target.bias[col];
  if (target.is_float) {
    float* y = static_cast<float*>(target.y);
    y[at] = target.adds ? y[at] + sum : sum;
  } else {
    bf16* y = static_cast<bf16*>(target.y);
    y[at] = __float2bfloat16(target.adds ? __bfloat162float(y[at]) + sum : sum);
  }
}

}  // namespace tessera::cuda
