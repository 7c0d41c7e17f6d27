/**
 * Owns how tokens that one step draws become inputs of the next without the host: ids in their places, and one more in
 * the lists of what penalties are about. A few bytes a row; launches are all they cost.
 */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

constexpr int kThreads = 128;

__global__ void feed_ids_kernel(const int32_t* drawn, const int32_t* from, int num_tokens, int32_t* ids) {
  const int token = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (token >= num_tokens || from[token] < 0) return;
  // What could not be drawn fails its step; this one only has to stay within the table.
  ids[token] = max(drawn[from[token]], 0);
}

/** One block a row. */
__global__ void feed_seen_kernel(const int32_t* drawn, const int32_t* from, const SamplingRow* rows, int32_t* seen_ids,
                                 int32_t* seen_counts) {
  GPU_SHARED(int, is_known);
  const int row = static_cast<int>(blockIdx.x);
  const int32_t id = from[row] < 0 ? -1 : drawn[from[row]];
  const int first = rows[row].first_seen;
  const int last = first + rows[row].num_seen - 1;  // the place that is left for it
  if (id < 0) return;
  if (threadIdx.x == 0) is_known = 0;
  __syncthreads();
  for (int i = first + static_cast<int>(threadIdx.x); i < last; i += kThreads) {
    if (seen_ids[i] != id) continue;
    seen_counts[i] += 1;  // an id is in a list once
    is_known = 1;
  }
  __syncthreads();
  if (threadIdx.x != 0 || is_known != 0) return;
  seen_ids[last] = id;
  seen_counts[last] = 1;
}

}  // namespace

cudaError_t feed_ids(const int32_t* drawn, const int32_t* from, int num_tokens, int32_t* ids, cudaStream_t stream) {
  const gpu::LaunchShape shape = {
      .grid = dim3(blocks_for(static_cast<size_t>(num_tokens), kThreads)), .block = dim3(kThreads), .stream = stream};
  return gpu::launch("feed_ids", shape, feed_ids_kernel, drawn, from, num_tokens, ids);
}

cudaError_t feed_seen(const int32_t* drawn, const int32_t* from, const SamplingRow* rows, int num_rows,
                      int32_t* seen_ids, int32_t* seen_counts, cudaStream_t stream) {
  const gpu::LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(num_rows)), .block = dim3(kThreads), .stream = stream};
  return gpu::launch("feed_seen", shape, feed_seen_kernel, drawn, from, rows, seen_ids, seen_counts);
}

}  // namespace tessera::cuda
