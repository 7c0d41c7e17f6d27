/**
 * Owns the activations between two products: exact GELU with bias, SiLU times up. Memory is the limit: 4 bytes a value of
 * GELU (2 in, 2 out), 6 of SwiGLU (4 in, 2 out), against some 20 flops; a thread loads and stores 16 bytes at a time
 * where rows allow it, and no index is divided.
 */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

constexpr int kThreads = 128;

__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
__device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }

/** Neighbours in a row that go as one load. */
template <int kCount>
struct alignas(2 * kCount) Neighbours {
  bf16 values[kCount];
};

/** Blocks [columns][rows]; rows beyond the grid's come in further rounds. */
template <int kCount>
__global__ void bias_gelu_kernel(bf16* x, const float* bias, size_t rows, int width) {
  const int col = (blockIdx.x * kThreads + threadIdx.x) * kCount;
  if (col >= width) return;
  for (size_t row = blockIdx.y; row < rows; row += gridDim.y) {
    auto* at = reinterpret_cast<Neighbours<kCount>*>(x + row * width + col);
    Neighbours<kCount> own = *at;
#pragma unroll
    for (int i = 0; i < kCount; i++) {
      const float added = bias == nullptr ? 0.0f : bias[col + i];
      own.values[i] = __float2bfloat16(gelu(__bfloat162float(own.values[i]) + added));
    }
    *at = own;
  }
}

template <int kCount>
__global__ void swiglu_kernel(const bf16* gate_up, size_t rows, int width, bf16* y) {
  const int col = (blockIdx.x * kThreads + threadIdx.x) * kCount;
  if (col >= width) return;
  for (size_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const bf16* from = gate_up + row * 2 * width + col;
    const auto gate = *reinterpret_cast<const Neighbours<kCount>*>(from);
    const auto up = *reinterpret_cast<const Neighbours<kCount>*>(from + width);
    Neighbours<kCount> own;
#pragma unroll
    for (int i = 0; i < kCount; i++) {
      own.values[i] = __float2bfloat16(silu(__bfloat162float(gate.values[i])) * __bfloat162float(up.values[i]));
    }
    *reinterpret_cast<Neighbours<kCount>*>(y + row * width + col) = own;
  }
}

/** Calls `run(shape, count)` with as many neighbours as rows of this width allow. */
template <class Run>
cudaError_t over(size_t rows, int width, cudaStream_t stream, Run run) {
  if (rows == 0) return cudaSuccess;
  const auto with = [&](auto count) {
    const gpu::LaunchShape shape = {
        .grid = dim3(blocks_for(static_cast<size_t>(width), kThreads * count.value),
                     static_cast<unsigned>(rows < 65535 ? rows : 65535)),
        .block = dim3(kThreads),
        .stream = stream};
    return run(shape, count);
  };
  if (width % 8 == 0) return with(std::integral_constant<int, 8>());
  return with(std::integral_constant<int, 1>());
}

}  // namespace

cudaError_t bias_gelu(bf16* x, const float* bias, size_t rows, int width, cudaStream_t stream) {
  return over(rows, width, stream, [&](const gpu::LaunchShape& shape, auto count) {
    return gpu::launch("bias_gelu", shape, bias_gelu_kernel<count.value>, x, bias, rows, width);
  });
}

cudaError_t swiglu(const bf16* gate_up, size_t rows, int width, bf16* y, cudaStream_t stream) {
  return over(rows, width, stream, [&](const gpu::LaunchShape& shape, auto count) {
    return gpu::launch("swiglu", shape, swiglu_kernel<count.value>, gate_up, rows, width, y);
  });
}

}  // namespace tessera::cuda
