/** Owns what kernels share: reductions over a warp and a block, bf16 vectors, launches by rows. */
#pragma once

#include "ops/cuda/gpu.h"

namespace tessera::cuda {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

__device__ __forceinline__ float warp_sum(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

__device__ __forceinline__ float warp_max(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}

/** Sum over the block, for each thread; `partial` [32] in shared memory, free again when all have returned. */
__device__ inline float block_sum(float x, float* partial) {
  x = warp_sum(x);
  const int num_warps = static_cast<int>(blockDim.x) / 32;
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < num_warps; warp++) sum += partial[warp];
  __syncthreads();
  return sum;
}

/** Eight bf16, as one load of 16 bytes. */
struct alignas(16) Bf16x8 {
  bf16x2 pairs[4];
};

/** Threads for a row of `width` values: whole warps, at most `most`. */
inline unsigned threads_for(int width, int most) {
  const int wanted = (width + 31) / 32 * 32;
  return static_cast<unsigned>(wanted < most ? wanted : most);
}

inline unsigned blocks_for(size_t count, unsigned threads) { return static_cast<unsigned>((count + threads - 1) / threads); }

}  // namespace tessera::cuda
