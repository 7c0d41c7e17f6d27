/**
 * Owns activations in FP8 (E4M3) for products by a library: a row, or all rows together, scaled so that the largest value
 * becomes 448. Bytes are the limit: 2 * rows * k are read twice, the second time from L2, and rows * k written.
 */
#include <cuda_fp8.h>

#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

constexpr int kThreads = 256;
/** Values a thread takes at once. */
constexpr int kRun = 8;
/** The largest number of E4M3. */
constexpr float kLargest = 448;

__device__ __forceinline__ bool is_finite(float x) { return fabsf(x) < INFINITY; }

/** Over the block, for each thread; `partial` [32] in shared memory. */
__device__ __forceinline__ float block_max(float x, float* partial) {
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  for (int warp = 0; warp < kThreads / 32; warp++) x = fmaxf(x, partial[warp]);
  return x;
}

/** What is not finite does not count: other rows may be scaled by this. */
__device__ __forceinline__ float row_largest(const bf16* row, int k, float* partial) {
  float largest = 0;
  for (int i = threadIdx.x * kRun; i < k; i += kThreads * kRun) {
    const auto eight = *reinterpret_cast<const Bf16x8*>(row + i);
#pragma unroll
    for (int p = 0; p < kRun / 2; p++) {
      const float2 pair = __bfloat1622float2(eight.pairs[p]);
      if (is_finite(pair.x)) largest = fmaxf(largest, fabsf(pair.x));
      if (is_finite(pair.y)) largest = fmaxf(largest, fabsf(pair.y));
    }
  }
  return block_max(largest, partial);
}

/** What is not finite becomes no number, which reaches the product. */
__device__ __forceinline__ void encode_row(const bf16* row, int k, float largest, uint8_t* codes) {
  // Below this the factor would overflow; such a row is as good as zero.
  const float factor = largest > 1e-30f ? kLargest / largest : 0.0f;
  for (int i = threadIdx.x * kRun; i < k; i += kThreads * kRun) {
    const auto eight = *reinterpret_cast<const Bf16x8*>(row + i);
    uint2 out = {0, 0};
#pragma unroll
    for (int p = 0; p < kRun / 2; p++) {
      float2 pair = __bfloat1622float2(eight.pairs[p]);
      pair.x = is_finite(pair.x) ? pair.x * factor : NAN;
      pair.y = is_finite(pair.y) ? pair.y * factor : NAN;
      const uint32_t two = __nv_cvt_float2_to_fp8x2(pair, __NV_SATFINITE, __NV_E4M3);
      (p < 2 ? out.x : out.y) |= two << (16 * (p % 2));
    }
    *reinterpret_cast<uint2*>(codes + i) = out;
  }
}

/** One block a row. */
__global__ void fp8_rows_kernel(const bf16* x, size_t x_stride, int k, Fp8Rows out) {
  GPU_SHARED(float[32], partial);
  const bf16* row = x + blockIdx.x * x_stride;
  const float largest = row_largest(row, k, partial);
  if (threadIdx.x == 0) out.scales[blockIdx.x] = largest / kLargest;
  encode_row(row, k, largest, out.codes + static_cast<size_t>(blockIdx.x) * k);
}

__global__ void fp8_largest_kernel(const bf16* x, size_t x_stride, int k, float* largest) {
  GPU_SHARED(float[32], partial);
  const float own = row_largest(x + blockIdx.x * x_stride, k, partial);
  if (threadIdx.x == 0) largest[blockIdx.x] = own;
}

__global__ void fp8_together_kernel(const bf16* x, size_t x_stride, int k, const float* row_largest, Fp8Rows out) {
  GPU_SHARED(float[32], partial);
  float largest = 0;
  for (unsigned row = threadIdx.x; row < gridDim.x; row += kThreads) largest = fmaxf(largest, row_largest[row]);
  largest = block_max(largest, partial);
  if (threadIdx.x == 0 && blockIdx.x == 0) out.scales[0] = largest / kLargest;
  encode_row(x + blockIdx.x * x_stride, k, largest, out.codes + static_cast<size_t>(blockIdx.x) * k);
}

bool is_usable(size_t x_stride, int rows, int k) { return rows > 0 && k > 0 && k % 16 == 0 && x_stride % kRun == 0; }

gpu::LaunchShape block_a_row(int rows, cudaStream_t stream) {
  return {.grid = dim3(static_cast<unsigned>(rows)), .block = dim3(kThreads), .stream = stream};
}

}  // namespace

cudaError_t quantise_fp8_rows(const bf16* x, size_t x_stride, int rows, int k, const Fp8Rows& out, cudaStream_t stream) {
  if (!is_usable(x_stride, rows, k)) return cudaErrorInvalidValue;
  return gpu::launch("fp8_rows", block_a_row(rows, stream), fp8_rows_kernel, x, x_stride, k, out);
}

cudaError_t quantise_fp8_together(const bf16* x, size_t x_stride, int rows, int k, float* largest, const Fp8Rows& out,
                                  cudaStream_t stream) {
  if (!is_usable(x_stride, rows, k)) return cudaErrorInvalidValue;
  const gpu::LaunchShape shape = block_a_row(rows, stream);
  const cudaError_t error = gpu::launch("fp8_largest", shape, fp8_largest_kernel, x, x_stride, k, largest);
  if (error != cudaSuccess) return error;
  return gpu::launch("fp8_together", shape, fp8_together_kernel, x, x_stride, k, largest, out);
}

}  // namespace tessera::cuda
