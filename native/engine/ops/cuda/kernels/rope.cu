/**
 * Owns what happens to q, k and v between their product and attention, all in one: they are split, q and k rotated, k and v
 * written into pages. One block a token; each value is read and written once, 4 bytes for (heads + 2 kv_heads) * head_dim
 * values a token, and 3 flops for each of q and k: memory is the limit.
 */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

/** Memory of one page and head: keys, then values. */
__device__ __forceinline__ bf16* page_of(const PagedLayer& cache, int page, int kv_head) {
  return cache.pages + (static_cast<size_t>(page) * cache.num_kv_heads + kv_head) * 2 * kPageTokens * cache.head_dim;
}

__global__ void rotate_and_store_kernel(bf16* qkv, const float* cos, const float* sin, StepTables step, int num_heads,
                                        PagedLayer cache) {
  const int token = blockIdx.x;
  const int half = cache.head_dim / 2;
  const int num_rotated = num_heads + cache.num_kv_heads;
  bf16* row = qkv + static_cast<size_t>(token) * (num_rotated + cache.num_kv_heads) * cache.head_dim;
  const int position = step.positions[token];
  const int sequence = step.sequence_of[token];
  if (sequence < 0) return;
  const int page = step.block_tables[static_cast<size_t>(sequence) * step.max_pages + position / kPageTokens];
  const int slot = position % kPageTokens * cache.head_dim;

  for (int i = threadIdx.x; i < num_rotated * half; i += blockDim.x) {
    const int head = i / half;
    const int pair = i % half;
    bf16* at = row + head * cache.head_dim;
    const float c = cos[static_cast<size_t>(token) * half + pair];
    const float s = sin[static_cast<size_t>(token) * half + pair];
    const float low = __bfloat162float(at[pair]);
    const float high = __bfloat162float(at[pair + half]);
    bf16* target = head < num_heads ? at : page_of(cache, page, head - num_heads) + slot;
    target[pair] = __float2bfloat16(low * c - high * s);
    target[pair + half] = __float2bfloat16(high * c + low * s);
  }
  const bf16* values = row + num_rotated * cache.head_dim;
  for (int i = threadIdx.x; i < cache.num_kv_heads * cache.head_dim; i += blockDim.x) {
    const int kv_head = i / cache.head_dim;
    page_of(cache, page, kv_head)[kPageTokens * cache.head_dim + slot + i % cache.head_dim] = values[i];
  }
}

}  // namespace

cudaError_t rotate_and_store(bf16* qkv, const float* cos, const float* sin, const StepTables& step, int num_heads,
                             const PagedLayer& cache, cudaStream_t stream) {
  const int pairs = (num_heads + cache.num_kv_heads) * cache.head_dim / 2;
  const gpu::LaunchShape shape = {.grid = dim3(static_cast<unsigned>(step.num_tokens)),
                                  .block = dim3(threads_for(pairs, 512)),
                                  .stream = stream};
  return gpu::launch("rotate_and_store", shape, rotate_and_store_kernel, qkv, cos, sin, step, num_heads, cache);
}

}  // namespace tessera::cuda
