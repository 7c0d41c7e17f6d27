/**
 * Owns where the residual stream begins and ends: embeddings, class row and positions, rows for the head. Memory is the
 * limit: of each value 2 or 4 bytes are read and 4 written (with positions 6 and 4), and at most one is added.
 */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

/** One block a token. */
__global__ void embed_kernel(Embeddings embeddings, const int32_t* ids, const int32_t* rows, int width, float* x) {
  const size_t token = blockIdx.x;
  const int row = rows[token];
  const int id = ids[token] - embeddings.first_id;
  const bool is_here = row >= 0 ? embeddings.tiles != nullptr : id >= 0 && id < embeddings.num_ids;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    float value = 0;
    if (is_here) {
      value = row >= 0 ? embeddings.tiles[static_cast<size_t>(row) * width + i]
                       : __bfloat162float(embeddings.table[static_cast<size_t>(id) * width + i]);
    }
    x[token * width + i] = value;
  }
}

/** One block a row of the output. */
__global__ void gather_rows_kernel(const float* x, const int32_t* rows, int width, float* y) {
  const size_t row = blockIdx.x;
  const size_t from = rows[row];
  for (int i = threadIdx.x; i < width; i += blockDim.x) y[row * width + i] = x[from * width + i];
}

/** One block a row of the output. */
__global__ void add_positions_kernel(const bf16* patches, const float* class_row, const float* positions,
                                     int patches_per_tile, int width, float* x) {
  const size_t row = blockIdx.x;
  const size_t tile = row / (patches_per_tile + 1);
  const int place = static_cast<int>(row % (patches_per_tile + 1));
  const bf16* patch = patches + (tile * patches_per_tile + (place - 1)) * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const float value = place == 0 ? class_row[i] : __bfloat162float(patch[i]);
    x[row * width + i] = value + positions[static_cast<size_t>(place) * width + i];
  }
}

}  // namespace

cudaError_t embed(const Embeddings& embeddings, const int32_t* ids, const int32_t* rows, int num_tokens, int width,
                  float* x, cudaStream_t stream) {
  const auto tokens = static_cast<unsigned>(num_tokens);
  return gpu::launch("embed", {.grid = dim3(tokens), .block = dim3(threads_for(width, 256)), .stream = stream},
                     embed_kernel, embeddings, ids, rows, width, x);
}

cudaError_t gather_rows(const float* x, const int32_t* rows, int num_rows, int width, float* y, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  const gpu::LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(num_rows)), .block = dim3(threads_for(width, 256)), .stream = stream};
  return gpu::launch("gather_rows", shape, gather_rows_kernel, x, rows, width, y);
}

cudaError_t add_positions(const bf16* patches, const float* class_row, const float* positions, int num_tiles,
                          int patches_per_tile, int width, float* x, cudaStream_t stream) {
  const auto rows = static_cast<unsigned>(num_tiles * (patches_per_tile + 1));
  return gpu::launch("add_positions", {.grid = dim3(rows), .block = dim3(threads_for(width, 256)), .stream = stream},
                     add_positions_kernel, patches, class_row, positions, patches_per_tile, width, x);
}

}  // namespace tessera::cuda
