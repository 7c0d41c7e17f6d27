/** Owns how kernels are launched: one function each, asynchronous on a stream. Pointers are device memory unless said. */
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace tessera::cuda {

/** Tokens of a page: the engine's KV block. */
inline constexpr int kPageTokens = 32;

/** What attention takes: values of a head, in eights, and query heads that share a key head. */
inline constexpr int kMaxHeadDim = 128;
inline constexpr int kMaxHeadGroup = 16;

/** One layer's paged keys and values: [page][kv_head][keys | values][32][head_dim]. */
struct PagedLayer {
  __nv_bfloat16* pages = nullptr;
  int num_kv_heads = 0;
  int head_dim = 0;  // a multiple of 8, at most 128
};

/** The sequences of a step. */
struct StepTables {
  const int32_t* positions = nullptr;     // [T]
  const int32_t* sequence_of = nullptr;   // [T] which sequence a token belongs to; -1: none, a row of padding
  const int32_t* query_starts = nullptr;  // [S + 1]
  const int32_t* block_tables = nullptr;  // [S][max_pages]
  int max_pages = 0;
  int num_tokens = 0;
  int num_sequences = 0;
  int max_queries = 0;  // new tokens of the longest sequence
  int max_keys = 0;     // keys of the longest sequence, new tokens included
};

// patchify.cu
/** u8 RGB [tiles][tile][tile][3] to bf16 [tiles * grid^2][3 * patch^2], normalised, in the order of a convolution's weight. */
cudaError_t patchify(const uint8_t* pixels, int num_tiles, int tile_size, int patch_size, const float mean[3],
                     const float std[3], __nv_bfloat16* patches, cudaStream_t stream);

// embed.cu
/** What tokens begin as. A device that has a part of the vocabulary, or no tiles, gives zeros for all others. */
struct Embeddings {
  const __nv_bfloat16* table = nullptr;  // [num_ids][width]
  int32_t first_id = 0;
  int32_t num_ids = 0;
  const float* tiles = nullptr;          // [any][width], or null
};
/** x[t] = table[ids[t] - first_id], or tiles[rows[t]] where rows[t] is not -1. */
cudaError_t embed(const Embeddings& embeddings, const int32_t* ids, const int32_t* rows, int num_tokens, int width,
                  float* x, cudaStream_t stream);
/** y[i] = x[rows[i]]. */
cudaError_t gather_rows(const float* x, const int32_t* rows, int num_rows, int width, float* y, cudaStream_t stream);
/** Each tile's class row and patches, plus positions [1 + patches][width]. */
cudaError_t add_positions(const __nv_bfloat16* patches, const float* class_row, const float* positions, int num_tiles,
                          int patches_per_tile, int width, float* x, cudaStream_t stream);

// norm.cu
/** What happens to the residual stream before it is normalised: x += scale * delta, both optional. */
struct ResidualUpdate {
  const __nv_bfloat16* delta = nullptr;  // [rows][width]
  const float* scale = nullptr;          // [width]: layer scale
};
/** y = norm(x + update), x updated in place; LayerNorm where `bias` is not null, RMSNorm otherwise. */
cudaError_t norm(float* x, const ResidualUpdate& update, const float* weight, const float* bias, float eps, int rows,
                 int width, __nv_bfloat16* y, cudaStream_t stream);
/** The update alone, where no norm follows. */
cudaError_t add_update(float* x, const ResidualUpdate& update, int rows, int width, cudaStream_t stream);
/** RMSNorm in place over `width` columns of rows `stride` apart: q and k of InternViT-6B. */
cudaError_t norm_in_place(__nv_bfloat16* x, const float* weight, float eps, int rows, int width, int stride,
                          cudaStream_t stream);

// activation.cu
/** x = gelu(x + bias), exact; `bias` may be null. */
cudaError_t bias_gelu(__nv_bfloat16* x, const float* bias, size_t rows, int width, cudaStream_t stream);
/** y[r][i] = silu(gate_up[r][i]) * gate_up[r][width + i]. */
cudaError_t swiglu(const __nv_bfloat16* gate_up, size_t rows, int width, __nv_bfloat16* y, cudaStream_t stream);

// pixel_shuffle.cu
/**
 * Drops class rows, gathers factor^2 patches into a row of factor^2 * width and normalises it (LayerNorm): the
 * projector's input [tiles * (grid / factor)^2][factor^2 * width].
 */
cudaError_t shuffle_norm(const float* x, int num_tiles, int grid, int factor, int width, bool transposed,
                         const float* weight, const float* bias, float eps, __nv_bfloat16* y, cudaStream_t stream);

// rope.cu
/** Rotates q and k of qkv [T][q | k | v] by cos and sin [T][head_dim / 2], q in place; writes k and v to their pages. */
cudaError_t rotate_and_store(__nv_bfloat16* qkv, const float* cos, const float* sin, const StepTables& step,
                             int num_heads, const PagedLayer& cache, cudaStream_t stream);

// flash_attention.cu
/** Softmax attention of each tile's tokens over themselves; qkv [tiles * tokens][q | k | v], y [tiles * tokens][width]. */
cudaError_t tile_attention(const __nv_bfloat16* qkv, int num_tiles, int tokens, int num_heads, int head_dim,
                           __nv_bfloat16* y, cudaStream_t stream);
/** Causal attention of new tokens over their sequence's pages, their own included; y [T][heads * head_dim]. */
cudaError_t prefill_attention(const __nv_bfloat16* qkv, const StepTables& step, int num_heads, const PagedLayer& cache,
                              __nv_bfloat16* y, cudaStream_t stream);

// decode_attention.cu
/** Bytes of workspace that `decode_attention` needs. */
size_t decode_workspace_bytes(int num_tokens, int max_keys, int num_heads, int head_dim);
/**
 * As `prefill_attention`, for sequences with one new token each. Keys are cut into fixed pieces, so that the order of
 * sums does not depend on the batch.
 */
cudaError_t decode_attention(const __nv_bfloat16* qkv, const StepTables& step, int num_heads, const PagedLayer& cache,
                             void* workspace, __nv_bfloat16* y, cudaStream_t stream);

// sampling.cu
/** Likeliest tokens that can be told of a row. */
inline constexpr int kMaxTop = 128;
/** How a row's token is drawn; the fields are those of SamplingParams in `ops/ops.h`. */
struct SamplingRow {
  uint64_t seed = 0;
  uint64_t position = 0;
  float temperature = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  int32_t top_k = 0;
  int32_t num_top = 0;  // at most SampledRows::max_top
  // Parts of the lists.
  int32_t first_seen = 0;
  int32_t num_seen = 0;
  int32_t first_bias = 0;
  int32_t num_biases = 0;
};
/** Rows and the lists they share. No id is twice in a row's part of a list; one of -1 is nobody's. */
struct SamplingTables {
  const SamplingRow* rows = nullptr;
  const int32_t* seen_ids = nullptr;     // [num_seen]
  const int32_t* seen_counts = nullptr;  // [num_seen] how often in the answer
  const int32_t* bias_ids = nullptr;     // [num_biases]
  const float* biases = nullptr;         // [num_biases]
  int num_seen = 0;
  int num_biases = 0;
};
/** Where results go. */
struct SampledRows {
  int32_t* ids = nullptr;           // [rows] -1 where logits were no numbers or no token was left
  float* logprobs = nullptr;        // [rows]
  int32_t* top_ids = nullptr;       // [rows][max_top] likeliest first, then -1
  float* top_logprobs = nullptr;    // [rows][max_top]
  int max_top = 0;                  // at most kMaxTop
};
/** Bytes of workspace that `sample` needs. */
size_t sampling_workspace_bytes(int num_rows, int vocab, int num_seen, int num_biases);
/**
 * Draws a token of each row of logits [rows][vocab], rows `stride` apart, as `sample_token` of `ops/sampling.h` does.
 * Logits are changed on the way and as before when it is done.
 */
cudaError_t sample(float* logits, size_t stride, int num_rows, int vocab, const SamplingTables& tables, void* workspace,
                   const SampledRows& out, cudaStream_t stream);

// feed.cu
/** ids[t] = drawn[from[t]] where from[t] is not -1. */
cudaError_t feed_ids(const int32_t* drawn, const int32_t* from, int num_tokens, int32_t* ids, cudaStream_t stream);
/**
 * Counts drawn[from[r]] as one more token of row r's answer where from[r] is not -1: in its entry of the row's list, or in
 * the list's last one, which is -1 until then.
 */
cudaError_t feed_seen(const int32_t* drawn, const int32_t* from, const SamplingRow* rows, int num_rows,
                      int32_t* seen_ids, int32_t* seen_counts, cudaStream_t stream);

// coded_product.cu
/** Rows that are multiplied straight from codes; for more, `expand` to bf16 and multiply that. */
inline constexpr int kMaxCodedRows = 8;
/** Weights [n][k] in few bits, each of which stands for a bf16 number; of int8 the code does, and sums are scaled. */
struct CodedMatrix {
  enum class Kind {
    kTable4,  // values[code] * scale: NF4 and FP4
    kAwq4,    // (code - zero) * scale in fp16
    kFp8,     // E4M3 * scale
    kInt8,    // code; a row's sum * scale
  };
  Kind kind = Kind::kTable4;
  int n = 0;
  int k = 0;                        // a multiple of 64
  const uint8_t* codes = nullptr;   // 4 bits: [n][k / 2], even columns in the low half; 8: [n][k]; 16-byte aligned
  const float* scales = nullptr;    // [n][k / group_cols]; 8 bits: [n]
  const uint8_t* zeros = nullptr;   // [n][k / group_cols], AWQ alone
  int group_cols = 64;              // a multiple of 64, 4 bits alone
  const float* values = nullptr;    // [16] by code, kTable4 alone
};
/** Where a product goes: y [rows][n] (+)= .. (+ bias). */
struct ProductTarget {
  void* y = nullptr;  // bf16, or fp32 where `is_float`
  size_t stride = 0;
  bool is_float = false;
  bool adds = false;
  const float* bias = nullptr;  // [n] or null
};
/** y = x w^T of at most kMaxCodedRows rows; x [rows][k], `x_stride` apart, 16-byte aligned. */
cudaError_t multiply_coded(const CodedMatrix& w, const __nv_bfloat16* x, size_t x_stride, int rows,
                           const ProductTarget& y, cudaStream_t stream);
/** All weights as bf16 [n][k]; of int8 the codes. */
cudaError_t expand_coded(const CodedMatrix& w, __nv_bfloat16* out, cudaStream_t stream);
/** y[r][i] *= scales[i]: what products of expanded int8 codes still lack. */
cudaError_t scale_sums(float* y, size_t stride, int rows, int n, const float* scales, cudaStream_t stream);

// int8_product.cu
/** Values from this magnitude on are multiplied in 16 bits, as LLM.int8 does. */
inline constexpr float kInt8Outlier = 6;
/** Places for such columns of a row; a row with more is looked through again. */
inline constexpr int kMaxOutliers = 256;
/** Rows of activations in 8 bits: x = codes * scale, but for outliers. */
struct Int8Rows {
  int8_t* codes = nullptr;         // [rows][k], 0 for outliers
  float* scales = nullptr;         // [rows]
  int32_t* num_outliers = nullptr; // [rows] may be more than kMaxOutliers
  int32_t* outliers = nullptr;     // [rows][kMaxOutliers] their columns, rising
};
/** Weights [n][k] = codes * scale; k a multiple of 16, codes 16-byte aligned. */
struct Int8Matrix {
  const int8_t* codes = nullptr;
  const float* scales = nullptr;  // [n]
  int n = 0;
  int k = 0;
};
cudaError_t quantise_rows(const __nv_bfloat16* x, size_t x_stride, int rows, int k, const Int8Rows& out,
                          cudaStream_t stream);
/** y = x w^T of at most kMaxCodedRows rows, from their codes and, for outliers, from `x` itself. */
cudaError_t multiply_int8(const Int8Matrix& w, const __nv_bfloat16* x, size_t x_stride, const Int8Rows& coded, int rows,
                          const ProductTarget& y, cudaStream_t stream);
/** The same from sums [rows][n] of products of codes, which another kernel has computed. */
cudaError_t finish_int8(const int32_t* sums, const Int8Matrix& w, const __nv_bfloat16* x, size_t x_stride,
                        const Int8Rows& coded, int rows, const ProductTarget& y, cudaStream_t stream);

// fp8_rows.cu
/** Rows of activations in E4M3: x = codes * scale. */
struct Fp8Rows {
  uint8_t* codes = nullptr;  // [rows][k]
  float* scales = nullptr;   // [rows]; the first where they share one
};
/** Each row by its own largest value. k a multiple of 16, codes 16-byte aligned. */
cudaError_t quantise_fp8_rows(const __nv_bfloat16* x, size_t x_stride, int rows, int k, const Fp8Rows& out,
                              cudaStream_t stream);
/** All rows by the largest value of all, for products that take one scale; `largest` [rows] is workspace. */
cudaError_t quantise_fp8_together(const __nv_bfloat16* x, size_t x_stride, int rows, int k, float* largest,
                                  const Fp8Rows& out, cudaStream_t stream);

}  // namespace tessera::cuda
