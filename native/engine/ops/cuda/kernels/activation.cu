/** Owns the activations between two products: exact GELU with bias, SiLU times up. Memory is the limit. */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
__device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }

__global__ void bias_gelu_kernel(bf16* x, const float* bias, size_t count, int width) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    const float value = __bfloat162float(x[i]) + (bias == nullptr ? 0.0f : bias[i % width]);
    x[i] = __float2bfloat16(gelu(value));
  }
}

__global__ void swiglu_kernel(const bf16* gate_up, size_t count, int width, bf16* y) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    const size_t row = i / width;
    const size_t at = row * 2 * width + i % width;
    y[i] = __float2bfloat16(silu(__bfloat162float(gate_up[at])) * __bfloat162float(gate_up[at + width]));
  }
}

gpu::LaunchShape over(size_t count, cudaStream_t stream) {
  const unsigned blocks = blocks_for(count, 256);
  return {.grid = dim3(blocks < 65536 ? blocks : 65536), .block = dim3(256), .stream = stream};
}

}  // namespace

cudaError_t bias_gelu(bf16* x, const float* bias, size_t rows, int width, cudaStream_t stream) {
  return gpu::launch("bias_gelu", over(rows * width, stream), bias_gelu_kernel, x, bias, rows * width, width);
}

cudaError_t swiglu(const bf16* gate_up, size_t rows, int width, bf16* y, cudaStream_t stream) {
  return gpu::launch("swiglu", over(rows * width, stream), swiglu_kernel, gate_up, rows * width, width, y);
}

}  // namespace tessera::cuda
