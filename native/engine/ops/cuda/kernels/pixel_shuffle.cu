/**
 * Owns the projector's input: pixel shuffle folded into the load of its LayerNorm, so that the shuffled rows never
 * exist. One block a row of factor^2 * width values, kept in shared memory between the passes: 4 bytes are read and 2 written
 * for each, against some 6 flops, so memory is the limit.
 */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

/** Where value `i` of output row `row` lies in x; rows of the output count (row, column) of squares. */
struct Shuffle {
  int grid;
  int factor;
  int width;
  bool transposed;

  __device__ size_t at(size_t row, int i) const {
    const int side = grid / factor;
    const size_t tile = row / (side * side);
    const int square = static_cast<int>(row % (side * side));
    // v1 leaves the grid column by column.
    const int square_row = transposed ? square % side : square / side;
    const int square_col = transposed ? square / side : square % side;
    const int patch_row = square_row * factor + i / width / factor;
    const int patch_col = square_col * factor + i / width % factor;
    return (tile * (grid * grid + 1) + 1 + patch_row * grid + patch_col) * width + i % width;
  }
};

__global__ void shuffle_norm_kernel(const float* x, Shuffle shuffle, const float* weight, const float* bias, float eps,
                                    bf16* y) {
  GPU_SHARED(float[32], partial);
  const size_t row = blockIdx.x;
  const int width = shuffle.factor * shuffle.factor * shuffle.width;
  float* values = gpu::dynamic_shared<float>();  // a thread reads what it has written itself
  float sum = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    values[i] = x[shuffle.at(row, i)];
    sum += values[i];
  }
  const float mean = block_sum(sum, partial) / width;
  float squares = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float difference = values[i] - mean;
    squares += difference * difference;
  }
  const float inverse = rsqrtf(block_sum(squares, partial) / width + eps);
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    y[row * width + i] = __float2bfloat16((values[i] - mean) * inverse * weight[i] + bias[i]);
  }
}

}  // namespace

cudaError_t shuffle_norm(const float* x, int num_tiles, int grid, int factor, int width, bool transposed,
                         const float* weight, const float* bias, float eps, bf16* y, cudaStream_t stream) {
  const int side = grid / factor;
  const gpu::LaunchShape shape = {.grid = dim3(static_cast<unsigned>(num_tiles * side * side)),
                                  .block = dim3(threads_for(factor * factor * width, 512)),
                                  .dynamic_bytes = static_cast<size_t>(factor) * factor * width * sizeof(float),
                                  .stream = stream};
  const Shuffle shuffle = {grid, factor, width, transposed};
  return gpu::launch("shuffle_norm", shape, shuffle_norm_kernel, x, shuffle, weight, bias, eps, y);
}

}  // namespace tessera::cuda
