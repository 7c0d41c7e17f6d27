/**
 * Owns attention of one query a sequence, over keys in pages: all query heads that share a key head go together as the
 * rows of one mma, so each key and value is read once. A block takes a piece of 256 keys, a warp 32 of them at a time;
 * pieces are put together by a second kernel. Bytes of keys and values are the limit: 4 * keys * kv_heads * head_dim.
 */
#include <type_traits>

#include "ops/cuda/kernels/attention_tile.cuh"

namespace tessera::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kPieceKeys = 256;
constexpr int kRows = 16;
/** Blocks a multiprocessor has shared memory for: how many registers a thread may have; fewer would spill. */
template <int kDim>
constexpr int kMinBlocks = kDim > 64 ? 2 : kDim > 32 ? 3 : 4;

/** What a piece leaves for a head: exp2 sums relative to `max`. */
struct PieceHead {
  float max;
  float mass;
};

template <int kDim>
struct DecodeMemory {
  bf16 queries[kRows * kRowStride<kDim>];
  union {
    struct {
      bf16 keys[kPageTokens * kRowStride<kDim>];
      bf16 values[kPageTokens * kRowStride<kDim>];
    } pages[kWarps];
    float sums[kWarps][kRows][kDim];
  };
  PieceHead heads[kWarps][kRows];
};

struct Pieces {
  int count;     // of the longest sequence
  PieceHead* heads;  // [sequence][head][piece]
  float* sums;       // [sequence][head][piece][head_dim]
};

struct DecodeArguments {
  const bf16* qkv;
  StepTables step;
  PagedLayer cache;
  int num_heads;
  float scale_log2;
  Pieces pieces;
};

/** The one new token of a sequence, or -1 where it has more or none. */
__device__ __forceinline__ int only_token(const StepTables& step, int sequence) {
  const int first = step.query_starts[sequence];
  return step.query_starts[sequence + 1] - first == 1 ? first : -1;
}

template <int kDim>
__global__ void __launch_bounds__(kWarps * 32, kMinBlocks<kDim>) decode_kernel(DecodeArguments a) {
  const int piece = blockIdx.x;
  const int kv_head = blockIdx.y;
  const int sequence = blockIdx.z;
  const int token = only_token(a.step, sequence);
  if (token < 0) return;
  const int num_keys = a.step.positions[token] + 1;
  if (piece * kPieceKeys >= num_keys) return;
  auto* memory = gpu::dynamic_shared<DecodeMemory<kDim>>();
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int head_dim = a.cache.head_dim;
  const int group = a.num_heads / a.cache.num_kv_heads;
  const bf16* query = a.qkv + (static_cast<size_t>(token) * (a.num_heads + 2 * a.cache.num_kv_heads) + kv_head * group) * head_dim;
  copy_rows<kDim>(memory->queries, kRows, head_dim, threadIdx.x, kWarps * 32, a.qkv,
                  [&](int i) { return i < group ? query + i * head_dim : nullptr; });
  gpu::commit_copies();
  gpu::wait_copies<0>();
  __syncthreads();

  WarpAttention<kDim> attention;
  attention.start(memory->queries);
  const int32_t* pages = a.step.block_tables + static_cast<size_t>(sequence) * a.step.max_pages;
  auto& own = memory->pages[warp];
  for (int first = piece * kPieceKeys + warp * kPageTokens; first < min(num_keys, (piece + 1) * kPieceKeys);
       first += kWarps * kPageTokens) {
    const size_t page = static_cast<size_t>(pages[first / kPageTokens]) * a.cache.num_kv_heads + kv_head;
    const bf16* keys = a.cache.pages + page * 2 * kPageTokens * head_dim;
    // Beyond the sequence a page holds what others left: zeros instead, since zero times that need not be zero.
    copy_rows<kDim>(own.keys, kPageTokens, head_dim, lane, 32, a.qkv,
                    [&](int i) { return first + i < num_keys ? keys + i * head_dim : nullptr; });
    copy_rows<kDim>(own.values, kPageTokens, head_dim, lane, 32, a.qkv,
                    [&](int i) { return first + i < num_keys ? keys + (kPageTokens + i) * head_dim : nullptr; });
    gpu::commit_copies();
    gpu::wait_copies<0>();
    __syncwarp();
    attention.template attend<kPageTokens>(own.keys, own.values, a.scale_log2,
                                           [&](int, int key) { return first + key < num_keys; });
    __syncwarp();
  }

  // Pages are done with: their memory holds each warp's sums now.
  __syncthreads();
  for (int half = 0; half < 2; half++) {
    const int row = lane / 4 + half * 8;
    const float mass = attention.total_mass(half);
    if (lane % 4 == 0) memory->heads[warp][row] = {attention.max[half], mass};
    for (int n = 0; n < kDim / 8; n++) {
      memory->sums[warp][row][n * 8 + lane % 4 * 2] = attention.sum[n][half * 2];
      memory->sums[warp][row][n * 8 + lane % 4 * 2 + 1] = attention.sum[n][half * 2 + 1];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < group * head_dim; i += kWarps * 32) {
    const int row = i / head_dim;
    const int col = i % head_dim;
    float max = -INFINITY;
    for (int w = 0; w < kWarps; w++) max = fmaxf(max, memory->heads[w][row].max);
    float mass = 0;
    float sum = 0;
    for (int w = 0; w < kWarps; w++) {
      const float weight = gpu::exp2_fast(memory->heads[w][row].max - max);
      mass += weight * memory->heads[w][row].mass;
      sum += weight * memory->sums[w][row][col];
    }
    const size_t at = (static_cast<size_t>(sequence) * a.num_heads + kv_head * group + row) * a.pieces.count + piece;
    if (col == 0) a.pieces.heads[at] = {max, mass};
    a.pieces.sums[at * head_dim + col] = sum;
  }
}

/** One block a sequence and head. */
__global__ void combine_kernel(StepTables step, int num_heads, int head_dim, Pieces pieces, bf16* y) {
  const int sequence = blockIdx.y;
  const int head = blockIdx.x;
  const int token = only_token(step, sequence);
  if (token < 0) return;
  const int count = (step.positions[token] + kPieceKeys) / kPieceKeys;
  const size_t first = (static_cast<size_t>(sequence) * num_heads + head) * pieces.count;
  for (int col = threadIdx.x; col < head_dim; col += blockDim.x) {
    float max = -INFINITY;
    for (int i = 0; i < count; i++) max = fmaxf(max, pieces.heads[first + i].max);
    float mass = 0;
    float sum = 0;
    for (int i = 0; i < count; i++) {
      const float weight = gpu::exp2_fast(pieces.heads[first + i].max - max);
      mass += weight * pieces.heads[first + i].mass;
      sum += weight * pieces.sums[(first + i) * head_dim + col];
    }
    y[(static_cast<size_t>(token) * num_heads + head) * head_dim + col] = __float2bfloat16(sum / mass);
  }
}

int num_pieces(int max_keys) { return (max_keys + kPieceKeys - 1) / kPieceKeys; }

}  // namespace

size_t decode_workspace_bytes(int num_sequences, int max_keys, int num_heads, int head_dim) {
  const size_t entries = static_cast<size_t>(num_sequences) * num_heads * num_pieces(max_keys);
  return entries * (sizeof(PieceHead) + head_dim * sizeof(float));
}

cudaError_t decode_attention(const bf16* qkv, const StepTables& step, int num_heads, const PagedLayer& cache,
                             void* workspace, bf16* y, cudaStream_t stream) {
  if (num_heads / cache.num_kv_heads > kRows) return cudaErrorInvalidValue;
  const int head_dim = cache.head_dim;
  const size_t entries = static_cast<size_t>(step.num_sequences) * num_heads * num_pieces(step.max_keys);
  auto* heads = static_cast<PieceHead*>(workspace);
  const Pieces pieces = {num_pieces(step.max_keys), heads, reinterpret_cast<float*>(heads + entries)};
  const DecodeArguments arguments = {qkv, step, cache, num_heads, softmax_scale_log2(head_dim), pieces};
  const cudaError_t error = for_head_dim(head_dim, [&](auto dim) {
    const gpu::LaunchShape shape = {
        .grid = dim3(static_cast<unsigned>(pieces.count), static_cast<unsigned>(cache.num_kv_heads),
                     static_cast<unsigned>(step.num_sequences)),
        .block = dim3(kWarps * 32),
        .dynamic_bytes = sizeof(DecodeMemory<dim.value>),
        .stream = stream};
    return gpu::launch("decode_attention", shape, decode_kernel<dim.value>, arguments);
  });
  if (error != cudaSuccess) return error;
  const gpu::LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(num_heads), static_cast<unsigned>(step.num_sequences)),
      .block = dim3(threads_for(head_dim, 128)),
      .stream = stream};
  return gpu::launch("combine_pieces", shape, combine_kernel, step, num_heads, head_dim, pieces, y);
}

}  // namespace tessera::cuda
