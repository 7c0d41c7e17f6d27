/**
 * Owns attention of many queries: tiles of the vision tower (every key), prompts of the decoder (causal, keys in pages).
 * One block takes 64 queries of one head, a warp 16 of them; keys come in tiles of 64, the next one on its way while one
 * is worked on. 4 * queries * keys * head_dim flops against bytes that mostly hit L2: tensor cores are the limit.
 */
#include <type_traits>

#include "ops/cuda/kernels/attention_tile.cuh"

namespace tessera::cuda {

namespace {

constexpr int kQueries = 64;
constexpr int kKeys = 64;
constexpr int kThreads = 128;
/** Blocks a multiprocessor has shared memory for: how many registers a thread may have; fewer would spill. */
template <int kDim>
constexpr int kMinBlocks = kDim > 64 ? 2 : kDim > 32 ? 3 : 4;

template <int kDim>
struct FlashMemory {
  bf16 queries[kQueries * kRowStride<kDim>];
  bf16 keys[2][kKeys * kRowStride<kDim>];
  bf16 values[2][kKeys * kRowStride<kDim>];
};

/** Where a head's rows lie: tokens of one tile. */
struct TileRows {
  const bf16* qkv;
  int tokens;
  int num_heads;
  int head_dim;

  __device__ bool begin(int) { return true; }
  __device__ int num_queries() const { return tokens; }
  __device__ int num_visible(int) const { return tokens; }
  __device__ size_t token(int query) const { return static_cast<size_t>(blockIdx.z) * tokens + query; }
  __device__ const bf16* row(size_t token, int part) const {
    return qkv + (token * 3 + part) * num_heads * head_dim + blockIdx.y * head_dim;
  }
  __device__ const bf16* query(int i) const { return row(token(i), 0); }
  __device__ const bf16* key(int i) const { return row(token(i), 1); }
  __device__ const bf16* value(int i) const { return row(token(i), 2); }
};

/** Where a head's rows lie: new tokens of one sequence, keys and values in its pages. */
struct PagedRows {
  const bf16* qkv;
  StepTables step;
  PagedLayer cache;
  int num_heads;
  int head_dim;
  // Set by `begin`.
  int first = 0;
  int count = 0;
  int keys = 0;
  const int32_t* pages = nullptr;

  /** False for a sequence of one new token, which decode_attention takes. */
  __device__ bool begin(int sequence) {
    first = step.query_starts[sequence];
    count = step.query_starts[sequence + 1] - first;
    if (count <= 1) return false;
    keys = step.positions[first + count - 1] + 1;
    pages = step.block_tables + static_cast<size_t>(sequence) * step.max_pages;
    return true;
  }
  __device__ int num_queries() const { return count; }
  __device__ int num_visible(int query) const { return keys - count + query + 1; }
  __device__ size_t token(int query) const { return static_cast<size_t>(first) + query; }
  __device__ const bf16* query(int i) const {
    const int rows = num_heads + 2 * cache.num_kv_heads;
    return qkv + (token(i) * rows + blockIdx.y) * head_dim;
  }
  __device__ const bf16* key(int i) const {
    const int kv_head = blockIdx.y / (num_heads / cache.num_kv_heads);
    const size_t page = static_cast<size_t>(pages[i / kPageTokens]) * cache.num_kv_heads + kv_head;
    return cache.pages + (page * 2 * kPageTokens + i % kPageTokens) * head_dim;
  }
  __device__ const bf16* value(int i) const { return key(i) + kPageTokens * head_dim; }
};

template <int kDim, class RowsOf>
__global__ void __launch_bounds__(kThreads, kMinBlocks<kDim>) flash_kernel(RowsOf rows, float scale_log2, bf16* y) {
  if (!rows.begin(static_cast<int>(blockIdx.z))) return;
  const int first_query = blockIdx.x * kQueries;
  if (first_query >= rows.num_queries()) return;
  auto* memory = gpu::dynamic_shared<FlashMemory<kDim>>();
  const int thread = threadIdx.x;
  const int warp = thread / 32;
  const int lane = thread % 32;
  const int num_queries = min(kQueries, rows.num_queries() - first_query);
  const int num_keys = rows.num_visible(first_query + num_queries - 1);

  const auto load = [&](int tile) {
    const int first = tile * kKeys;
    copy_rows<kDim>(memory->keys[tile % 2], kKeys, rows.head_dim, thread, kThreads, rows.qkv,
                    [&](int i) { return first + i < num_keys ? rows.key(first + i) : nullptr; });
    copy_rows<kDim>(memory->values[tile % 2], kKeys, rows.head_dim, thread, kThreads, rows.qkv,
                    [&](int i) { return first + i < num_keys ? rows.value(first + i) : nullptr; });
    gpu::commit_copies();
  };
  copy_rows<kDim>(memory->queries, kQueries, rows.head_dim, thread, kThreads, rows.qkv,
                  [&](int i) { return i < num_queries ? rows.query(first_query + i) : nullptr; });
  load(0);

  WarpAttention<kDim> attention;
  const int num_tiles = (num_keys + kKeys - 1) / kKeys;
  for (int tile = 0; tile < num_tiles; tile++) {
    gpu::wait_copies<0>();
    __syncthreads();
    // Behind the barrier nobody reads the other buffer any more.
    if (tile + 1 < num_tiles) load(tile + 1);
    if (tile == 0) attention.start(&memory->queries[warp * 16 * kRowStride<kDim>]);
    attention.template attend<kKeys>(memory->keys[tile % 2], memory->values[tile % 2], scale_log2,
                                     [&](int row, int key) {
                                       const int query = first_query + warp * 16 + row;
                                       return tile * kKeys + key < min(num_keys, rows.num_visible(query));
                                     });
  }

  for (int half = 0; half < 2; half++) {
    const float inverse = 1.0f / attention.total_mass(half);
    const int query = warp * 16 + lane / 4 + half * 8;
    if (query >= num_queries) continue;
    bf16* out = y + (rows.token(first_query + query) * rows.num_heads + blockIdx.y) * rows.head_dim;
    for (int n = 0; n < kDim / 8; n++) {
      const int col = n * 8 + lane % 4 * 2;
      if (col >= rows.head_dim) continue;
      const uint32_t pair = gpu::pack_bf16(attention.sum[n][half * 2] * inverse, attention.sum[n][half * 2 + 1] * inverse);
      *reinterpret_cast<uint32_t*>(out + col) = pair;
    }
  }
}

template <class RowsOf>
cudaError_t run(const char* name, const RowsOf& rows, int max_queries, int num_sequences, bf16* y, cudaStream_t stream) {
  return for_head_dim(rows.head_dim, [&](auto dim) {
    const gpu::LaunchShape shape = {
        .grid = dim3(blocks_for(static_cast<size_t>(max_queries), kQueries), static_cast<unsigned>(rows.num_heads),
                     static_cast<unsigned>(num_sequences)),
        .block = dim3(kThreads),
        .dynamic_bytes = sizeof(FlashMemory<dim.value>),
        .stream = stream};
    return gpu::launch(name, shape, flash_kernel<dim.value, RowsOf>, rows, softmax_scale_log2(rows.head_dim), y);
  });
}

}  // namespace

cudaError_t tile_attention(const bf16* qkv, int num_tiles, int tokens, int num_heads, int head_dim, bf16* y,
                           cudaStream_t stream) {
  return run("tile_attention", TileRows{qkv, tokens, num_heads, head_dim}, tokens, num_tiles, y, stream);
}

cudaError_t prefill_attention(const bf16* qkv, const StepTables& step, int num_heads, const PagedLayer& cache, bf16* y,
                              cudaStream_t stream) {
  const PagedRows rows = {.qkv = qkv, .step = step, .cache = cache, .num_heads = num_heads, .head_dim = cache.head_dim};
  return run("prefill_attention", rows, step.max_queries, step.num_sequences, y, stream);
}

}  // namespace tessera::cuda
