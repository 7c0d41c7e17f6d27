/** Owns the operations a model is written over; a device implements them. Pointers to activations are device memory. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tessera/engine.h"

namespace tessera {

/** Zeroed device memory, freed with its last copy. */
struct Buffer {
  std::shared_ptr<void> memory;
  size_t bytes = 0;

  float* f32() const { return static_cast<float*>(memory.get()); }
};

class Matrix;

/** How an activation is stored. */
enum class Element { kF32, kBf16 };

constexpr size_t element_bytes(Element element) { return element == Element::kF32 ? 4 : 2; }

/**
 * Activations, row-major; `stride` is in elements from row to row. The residual stream, embeddings and logits are fp32;
 * what lies between two operations of a layer is of the device's own choice (`Ops::activations`).
 */
struct Rows {
  float* data = nullptr;  // of fp32; elements of another type start at the same address
  size_t rows = 0;
  size_t cols = 0;
  size_t stride = 0;
  Element element = Element::kF32;
  /** Set where one product with this matrix is all that reads these rows: a device may write them as it wants them. */
  const Matrix* reader = nullptr;

  Rows() = default;
  Rows(float* data, size_t rows, size_t cols) : data(data), rows(rows), cols(cols), stride(cols) {}
  Rows(float* data, size_t rows, size_t cols, size_t stride) : data(data), rows(rows), cols(cols), stride(stride) {}
  Rows(Buffer& memory, size_t rows, size_t cols, Element element)
      : data(memory.f32()), rows(rows), cols(cols), stride(cols), element(element) {}
  Rows columns(size_t first, size_t count) const {
    Rows out = *this;
    out.data = reinterpret_cast<float*>(reinterpret_cast<char*>(data) + first * element_bytes(element));
    out.cols = count;
    out.reader = nullptr;
    return out;
  }
  Rows part(size_t first, size_t count) const {
    Rows out = *this;
    out.data = reinterpret_cast<float*>(reinterpret_cast<char*>(data) + first * stride * element_bytes(element));
    out.rows = count;
    out.reader = nullptr;
    return out;
  }
  Rows for_reader(const Matrix& matrix) const {
    Rows out = *this;
    out.reader = &matrix;
    return out;
  }
};

enum class DiskType { kBf16, kF16, kF32 };

/** A tensor as the checkpoint holds it, or a part of one, in host memory: [rows][cols], row-major, not aligned. */
struct HostTensor {
  std::string name;  // for messages
  const void* data = nullptr;
  DiskType type = DiskType::kBf16;
  size_t rows = 0;
  size_t cols = 0;
  // Of AWQ: `data` holds codes [cols][outputs / 8] of 32 bits, zeros [cols / group][outputs / 8], scales [cols / group]
  // [outputs] of fp16; the group's columns share a zero and a scale. Rows are the outputs from `first_row` on.
  const void* zeros = nullptr;
  const void* scales = nullptr;
  size_t group_cols = 0;
  // Elements from row to row where these are some columns of a wider tensor; of AWQ the outputs where these are some of
  // them. 0: `cols`, of AWQ `rows`.
  size_t stride = 0;
  size_t first_row = 0;

  size_t row_stride() const { return stride == 0 ? cols : stride; }
};

/** A weight matrix [rows][cols] in the device's own layout and type. */
class Matrix {
 public:
  virtual ~Matrix() = default;
  size_t rows = 0;
  size_t cols = 0;
  size_t bytes = 0;

  /** All it is made of, as it lies in host memory and may be kept in a file; empty on a device that does without. */
  virtual std::span<const char> packed() const { return {}; }
  /** Goes on over the same bytes at another place, on a 64-byte boundary. */
  virtual void rest_on(std::shared_ptr<const char> packed) { (void)packed; }
};

/**
 * How a matrix is held: in the device's own type, or quantised, in which case sums are still fp32. AWQ is quantised in the
 * checkpoint; a device of another type than bf16 may hold it as what it stands for. Of `kInt8Head` weights are
 * int8, a scale a row, and activations have 16 bits. FP8 is E4M3, on GPUs alone.
 */
enum class WeightType { kBase, kInt8, kNf4, kFp4, kAwq, kInt8Head, kFp8 };

/** How several tensors become one matrix. */
enum class Join {
  kStacked,  // rows one after the other: q, k, v
  kGateUp,   // two of the same shape, for `linear_swiglu` alone
};

enum class Activation { kNone, kGelu };

/** y = [residual +] [scale *] activation(x W^T + bias). Null pointers leave a part out. `residual` may be y itself. */
struct Epilogue {
  const float* bias = nullptr;
  Activation activation = Activation::kNone;
  const float* scale = nullptr;
  const float* residual = nullptr;
  size_t residual_stride = 0;
};

struct KvShape {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
};

/** Paged keys and values of all layers, on the device. */
class KvCache {
 public:
  virtual ~KvCache() = default;
  int num_blocks = 0;
  uint64_t bytes = 0;
};

/** The largest step and the largest call to encode there will be. */
struct WorkLimits {
  size_t tokens = 0;     // of a step
  size_t sequences = 0;  // of a step
  size_t seen_tokens = 0;  // of a sequence, that penalties are about
  size_t biases = 0;       // of a sequence
  int max_blocks = 0;    // of a sequence
  int num_heads = 0;     // of the decoder
  int head_dim = 0;
  size_t vocab_size = 0;
  size_t gate_up_cols = 0;  // of the decoder's gate and up together
  size_t tile_rows = 0;     // of the tower
  size_t tile_cols = 0;
  size_t pixel_bytes = 0;
};

/** What a step's operations need to know; host memory that outlives them. */
struct StepLayout {
  std::span<const int32_t> positions;     // [T]
  std::span<const int32_t> query_starts;  // [S + 1]
  std::span<const int32_t> block_tables;  // [S][max_blocks]
  int max_blocks = 0;
  int num_heads = 0;
  const float* cos = nullptr;  // [T][head_dim / 2]
  const float* sin = nullptr;
  std::span<const int32_t> token_ids;       // [T]
  std::span<const int32_t> embedding_rows;  // [T] -1 for text
  std::span<const int32_t> wanted;          // tokens that go on to the head
  int head_dim = 0;
  std::span<const int32_t> ids_from;  // [T] row of the last draws whose id it is; -1: token_ids has it; or empty: all -1
};

/**
 * A vocabulary's embeddings, or the part of them that one of several devices has: ids from `first_id` on, one a row.
 * Tokens of another part, and tiles where there are none, become zeros.
 */
struct EmbeddingTable {
  const Matrix& rows;
  int32_t first_id = 0;

  bool has(int32_t id) const { return id >= first_id && id - first_id < static_cast<int64_t>(rows.rows); }
};

/** How patches of a tile become the projector's rows. */
struct PixelShuffle {
  size_t grid = 0;  // patches along an edge
  size_t factor = 0;
  bool transposed = false;  // leaves the output grid column by column, as `ps_version` v1 does
};

/** How to draw one token. */
struct SamplingParams {
  float temperature = 0;
  float top_p = 1;
  int32_t top_k = 0;
  uint64_t seed = 0;
  uint64_t position = 0;  // of the token to be drawn
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  int32_t num_top = 0;
  std::span<const int32_t> seen_ids;  // distinct tokens of prompt and answer
  std::span<const int32_t> seen_counts;  // of each, how often in the answer
  std::span<const int32_t> bias_ids;
  std::span<const float> biases;
  /** Row of the last draws whose id penalties count as one more of the answer; -1: none. */
  int32_t id_from = -1;

  bool has_penalties() const { return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0; }
};

struct LikelyToken {
  int32_t id = -1;
  float logprob = 0;
};

struct SampledToken {
  int32_t id = -1;               // -1: the logits were not numbers
  float logprob = 0;
  std::vector<LikelyToken> top;  // likeliest first
};

/** Draws on their way. */
class Draws {
 public:
  virtual ~Draws() = default;
  /** Waits for them, once; from any thread, beside the device's next operations. */
  virtual void take(std::span<SampledToken> out) = 0;
};

/**
 * A device. Every operation treats rows independently. On the CPU it also sums in an order that does not depend on how
 * many rows there are, so that a row's result is the same bits in any batch.
 */
class Ops {
 public:
  virtual ~Ops() = default;
  virtual std::string isa() const = 0;
  virtual int num_threads() const = 0;
  /** Whether operations return before they are done, so that several devices work at once. */
  virtual bool is_asynchronous() const { return false; }
  /** What rows between two operations of a layer are stored as. */
  virtual Element activations() const { return Element::kF32; }

  /** Refuses heads that attention cannot take; `group` query heads share a key head. Before memory is taken. */
  virtual void check_heads(int head_dim, int group) const { (void)head_dim, (void)group; }

  /** Whether it computes in memory of its own, which is not the host's. */
  virtual bool has_own_memory() const { return false; }
  /** What is free of that. */
  virtual uint64_t free_bytes() const { return 0; }
  /** Rows of a step in which so many sequences decode: as many, or more where the device pads them. */
  virtual size_t decode_rows(size_t num_sequences) const { return num_sequences; }
  /**
   * Runs `work`, a rehearsal of steps, and chooses meanwhile how to run its like; what is chosen may be kept in `folder`
   * for the next time. Results of `work` are not to be used. @return what came of it, for people
   */
  virtual std::string rehearse(const std::string& folder, const std::function<void()>& work) {
    (void)folder, (void)work;
    return {};
  }
  /** Takes what its operations need of memory besides their arguments, for work up to these limits. */
  virtual void reserve(const WorkLimits& limits) { (void)limits; }

  virtual Buffer allocate(size_t bytes) = 0;
  virtual Buffer upload(const void* host, size_t bytes) = 0;
  virtual void download(void* host, const float* device, size_t count) = 0;
  virtual void copy(const float* from, size_t count, float* to) = 0;
  /** Copies fp32 rows that lie on another device of the same kind; both may have gaps between rows. */
  virtual void receive(const Rows& x, Ops& from, const Rows& y) = 0;
  virtual std::unique_ptr<Matrix> load_matrix(std::span<const HostTensor> parts, Join join,
                                              WeightType type = WeightType::kBase) = 0;
  /**
   * What `load_matrix` makes of such tensors, over the bytes that `packed` gave of it before: only the shapes of `parts`
   * are read. Null where it would be made of other than `num_bytes`.
   */
  virtual std::unique_ptr<Matrix> attach_matrix(std::span<const HostTensor> parts, Join join, WeightType type,
                                                std::shared_ptr<const char> packed, size_t num_bytes) {
    (void)parts, (void)join, (void)type, (void)packed, (void)num_bytes;
    return nullptr;
  }

  virtual void linear(const Rows& x, const Matrix& w, const Epilogue& epilogue, const Rows& y) = 0;
  /**
   * y = silu(x gate^T + bias of gate) * (x up^T + bias of up), for a matrix joined by `kGateUp`; y has half of the
   * matrix's rows as columns. `bias` [gate | up] or null.
   */
  virtual void linear_swiglu(const Rows& x, const Matrix& gate_up, const float* bias, const Rows& y) = 0;
  /** `x` and `y` may be the same rows. */
  virtual void layer_norm(const Rows& x, const float* weight, const float* bias, float eps, const Rows& y) = 0;
  virtual void rms_norm(const Rows& x, const float* weight, float eps, const Rows& y) = 0;

  /**
   * u8 RGB tiles in host memory to one row a patch, [channel][y][x] as a convolution's weight lies:
   * (value / 255 - mean[channel]) / std[channel].
   */
  virtual void patchify(std::span<const uint8_t> pixels, int tile_size, int patch_size, const float mean[3],
                        const float std[3], const Rows& patches) = 0;
  /** Rows of each tile: class embedding, then its patches; positions [1 + patches a tile][cols] added to all. */
  virtual void add_positions(const Rows& patches, const float* class_embedding, const float* positions,
                             size_t patches_per_tile, const Rows& x) = 0;
  /**
   * Softmax attention of each tile over itself; `qkv` [tiles * tokens][3 * cols], heads side by side. Where the layer's
   * weights are of type int8, a device may multiply queries and keys as int8 too, with a scale a row of either.
   */
  virtual void tile_attention(const Rows& qkv, size_t tokens_per_tile, int num_heads, WeightType type,
                              const Rows& y) = 0;
  /**
   * Drops each tile's class row, gathers factor x factor patches into one row, ordered (row, column, channel) of the
   * square, and normalises it (LayerNorm).
   */
  virtual void shuffle_norm(const Rows& x, const PixelShuffle& shuffle, const float* weight, const float* bias,
                            float eps, const Rows& y) = 0;

  /**
   * Said once before the operations of a step, so that a device can take what it needs to know.
   * @return rows to compute: T, or more where the device pads a step in which every sequence decodes. There all tokens are
   * wanted, and rows behind them have any values.
   */
  virtual size_t begin_step(const StepLayout& step) = 0;
  /**
   * Runs the operations between `begin_step` and the logits; a device may record them for a shape and replay them. `body`
   * gives the same operations, over the same memory, for every step of as many rows.
   */
  virtual void repeat(const std::function<void()>& body) { body(); }
  /** Rows of the table for text, of `tiles` [any][cols] where embedding_rows is not -1. */
  virtual void embed(const EmbeddingTable& table, const StepLayout& step, const float* tiles, const Rows& y) = 0;
  /** Blocks as many as fit in `budget_bytes`, but at least `min_blocks`. */
  virtual std::unique_ptr<KvCache> make_kv_cache(const KvShape& shape, uint64_t budget_bytes, int min_blocks) = 0;
  /** Rotates q and k of `qkv` [T][q | k | v] by their positions, q in place, and writes k and v to the cache. */
  virtual void rotate_and_store(const Rows& qkv, const StepLayout& step, KvCache& cache, int layer) = 0;
  /** Causal attention of every new token over its sequence's cache; y [T][num_heads * head_dim]. */
  virtual void paged_attention(const Rows& qkv, const StepLayout& step, const KvCache& cache, int layer,
                               const Rows& y) = 0;
  /** The step's wanted rows of x. */
  virtual void gather_rows(const Rows& x, const StepLayout& step, const Rows& y) = 0;
  virtual void sample(const Rows& logits, std::span<const SamplingParams> params, std::span<SampledToken> out) = 0;
  /** Whether ids go from one step's draws into the next step on the device (`ids_from`, `id_from`). */
  virtual bool feeds_ids() const { return false; }
  /** Puts draws in line, at most `kMaxStepsInFlight` at once. For a device that feeds ids. */
  virtual std::unique_ptr<Draws> begin_draws(const Rows& logits, std::span<const SamplingParams> params) {
    (void)logits, (void)params;
    return nullptr;
  }
};

/** Tokens one KV block holds, on every device. */
inline constexpr int kKvBlockSize = 32;

}  // namespace tessera
