/**
 * Owns LayerNorm and RMSNorm, fused with the residual update before them. One block a row, held in registers between
 * the passes: reads 4 bytes of x and 2 of delta, writes 4 and 2, so memory is the limit. Sums in fp32; the variance is
 * taken around the mean, in a second pass over registers.
 */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

constexpr int kMaxThreads = 512;

/** kPerThread: values a thread keeps; loops over them are unrolled, so that they stay in registers. */
template <bool kIsLayerNorm, int kPerThread>
__global__ void __launch_bounds__(kMaxThreads)
    norm_kernel(float* x, const bf16* delta, const float* scale, const float* weight, const float* bias, float eps,
                int width, bf16* y) {
  GPU_SHARED(float[32], partial);
  const size_t first = static_cast<size_t>(blockIdx.x) * width;
  float values[kPerThread];
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kPerThread; k++) {
    const int i = threadIdx.x + k * blockDim.x;
    values[k] = 0;
    if (i >= width) continue;
    float value = x[first + i];
    if (delta != nullptr) {
      const float change = __bfloat162float(delta[first + i]);
      value += scale == nullptr ? change : scale[i] * change;
      x[first + i] = value;
    }
    values[k] = value;
    sum += kIsLayerNorm ? value : value * value;
  }
  const float mean = block_sum(sum, partial) / width;
  float inverse;
  if constexpr (kIsLayerNorm) {
    float squares = 0;
#pragma unroll
    for (int k = 0; k < kPerThread; k++) {
      const int i = threadIdx.x + k * blockDim.x;
      if (i < width) squares += (values[k] - mean) * (values[k] - mean);
    }
    inverse = rsqrtf(block_sum(squares, partial) / width + eps);
  } else {
    inverse = rsqrtf(mean + eps);
  }
#pragma unroll
  for (int k = 0; k < kPerThread; k++) {
    const int i = threadIdx.x + k * blockDim.x;
    if (i >= width) continue;
    const float normal = kIsLayerNorm ? (values[k] - mean) * inverse * weight[i] + bias[i] : values[k] * inverse * weight[i];
    y[first + i] = __float2bfloat16(normal);
  }
}

/** One block a row. */
__global__ void add_update_kernel(float* x, const bf16* delta, const float* scale, int width) {
  const size_t first = static_cast<size_t>(blockIdx.x) * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float change = __bfloat162float(delta[first + i]);
    x[first + i] += scale == nullptr ? change : scale[i] * change;
  }
}

__global__ void norm_in_place_kernel(bf16* x, const float* weight, float eps, int width, int stride) {
  GPU_SHARED(float[32], partial);
  bf16* row = x + static_cast<size_t>(blockIdx.x) * stride;
  float squares = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float value = __bfloat162float(row[i]);
    squares += value * value;
  }
  const float inverse = rsqrtf(block_sum(squares, partial) / width + eps);
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    row[i] = __float2bfloat16(__bfloat162float(row[i]) * inverse * weight[i]);
  }
}

}  // namespace

cudaError_t norm(float* x, const ResidualUpdate& update, const float* weight, const float* bias, float eps, int rows,
                 int width, bf16* y, cudaStream_t stream) {
  const gpu::LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(rows)), .block = dim3(threads_for(width, kMaxThreads)), .stream = stream};
  const auto run = [&](auto kernel) {
    return gpu::launch("norm", shape, kernel, x, update.delta, update.scale, weight, bias, eps, width, y);
  };
  const bool is_layer_norm = bias != nullptr;
  if (width <= kMaxThreads * 2) return run(is_layer_norm ? norm_kernel<true, 2> : norm_kernel<false, 2>);
  if (width <= kMaxThreads * 8) return run(is_layer_norm ? norm_kernel<true, 8> : norm_kernel<false, 8>);
  if (width <= kMaxThreads * 32) return run(is_layer_norm ? norm_kernel<true, 32> : norm_kernel<false, 32>);
  return cudaErrorInvalidValue;
}

cudaError_t add_update(float* x, const ResidualUpdate& update, int rows, int width, cudaStream_t stream) {
  const gpu::LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(rows)), .block = dim3(threads_for(width, kMaxThreads)), .stream = stream};
  return gpu::launch("add_update", shape, add_update_kernel, x, update.delta, update.scale, width);
}

cudaError_t norm_in_place(bf16* x, const float* weight, float eps, int rows, int width, int stride,
                          cudaStream_t stream) {
  const gpu::LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(rows)), .block = dim3(threads_for(width, kMaxThreads)), .stream = stream};
  return gpu::launch("norm_in_place", shape, norm_in_place_kernel, x, weight, eps, width, stride);
}

}  // namespace tessera::cuda
