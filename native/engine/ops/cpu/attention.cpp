/**
 * Owns attention, of tiles over themselves and of new tokens over their paged cache. Both take as many query rows as a
 * kernel holds, compute all their scores, take the whole row's softmax, and multiply with the values: keys go in order
 * from 0 in blocks of 32, whatever the queries are, so a row's bits do not depend on its neighbours.
 */
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/paged_kv.h"

namespace tessera::cpu {

namespace {

/** KV blocks ahead of which one is asked for that does not follow the one before it: the processor guesses the others. */
constexpr size_t kBlocksAhead = 4;
/** Tokens ahead of which keys and values are asked for while they are copied. */
constexpr size_t kTokensAhead = 8;

size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/** Brings a block into L2: there, unlike in L1, many lines can be on their way at once. */
void ask_for(const char* block, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(block + i, 0, 2);
}

/** Whether block `b` > 0 of a table does not follow the one before it. */
bool starts_run(const int32_t* blocks, size_t b) { return blocks[b] != blocks[b - 1] + 1; }

/** One thread's memory for a group of query rows over up to `max_keys` keys. */
struct AttentionScratch {
  size_t max_keys;  // a multiple of 32
  size_t head_dim;  // a multiple of 32, at least the model's

  size_t bytes() const { return 4 * (3 * kMaxRows * head_dim + 2 * kMaxRows * max_keys); }
  float* gathered(char* base) const { return reinterpret_cast<float*>(base); }                 // [rows][head_dim]
  char* queries(char* base) const { return base + 4 * kMaxRows * head_dim; }                   // packed
  float* out(char* base) const { return reinterpret_cast<float*>(base) + 2 * kMaxRows * head_dim; }
  float* scores(char* base) const { return reinterpret_cast<float*>(base) + 3 * kMaxRows * head_dim; }
  char* probabilities(char* base) const { return base + 4 * (3 * kMaxRows * head_dim + kMaxRows * max_keys); }
};

/** Softmax of the scores [rows][stride], row r over its first num_keys(r) of `padded` keys; packs it. */
template <class NumKeys>
void softmax_rows(const Kernels& kernels, const MatrixKernel& kernel, float* scores, size_t stride, int rows,
                  size_t padded, size_t used, float scale, NumKeys&& num_keys, float* sums, void* packed) {
  for (int r = 0; r < rows; r++) {
    float* row = scores + r * stride;
    std::fill(row + num_keys(r), row + padded, -std::numeric_limits<float>::infinity());
    sums[r] = kernels.softmax(row, padded, scale);
  }
  kernel.pack(scores, stride, rows, used, packed);
}

}  // namespace

void CpuOps::tile_attention(const Rows& qkv, size_t tokens, int num_heads, WeightType type, const Rows& y) {
  if (dtype_ == Dtype::kBf16 && kernels_.tile_attention != nullptr) {
    attend_tiles(*kernels_.tile_attention, {tokens, y.cols / num_heads, type == WeightType::kInt8}, qkv, y);
  } else {
    attend_tiles(qkv, tokens, num_heads, y);
  }
}

void CpuOps::attend_tiles(const TileAttentionKernel& kernel, const TileShape& shape, const Rows& qkv, const Rows& y) {
  const size_t packed_bytes = kernel.packed_bytes(shape);
  reserve_scratch(packed_bytes + kernel.scratch_bytes(shape));
  const size_t num_heads = y.cols / shape.head_dim;
  const size_t num_tiles = qkv.rows / shape.tokens;
  const double cost = 2.0 * num_tiles * shape.tokens * shape.tokens * y.cols;
  parallel(num_tiles * num_heads, cost, [&](size_t item, int thread) {
    char* packed = scratch_[thread].as<char>();
    const size_t first = item / num_heads * shape.tokens;
    const size_t head_col = item % num_heads * shape.head_dim;
    const float* q = qkv.data + first * qkv.stride + head_col;
    kernel.pack(shape, q + y.cols, q + 2 * y.cols, qkv.stride, packed);
    for (size_t row = 0; row < shape.tokens; row += kernels_.max_rows) {
      const int rows = static_cast<int>(std::min<size_t>(kernels_.max_rows, shape.tokens - row));
      kernel.attend(shape, packed, q + row * qkv.stride, qkv.stride, rows, packed + packed_bytes,
                    y.data + (first + row) * y.stride + head_col, y.stride);
    }
  });
}

void CpuOps::attend_tiles(const Rows& qkv, size_t tokens, int num_heads, const Rows& y) {
  const MatrixKernel& kernel = attention_kernel();
  const size_t head_dim = y.cols / num_heads;
  const KvPanel panel{kernel.k_step, head_dim};
  const size_t padded = round_up(tokens, kPanelWidth);
  const AttentionScratch plan{padded, round_up(head_dim, kPanelWidth)};
  const size_t keys_bytes = padded / kPanelWidth * panel.keys_size() * kernel.b_bytes;
  const size_t values_bytes = panel.value_panels() * panel.value_panel_size(padded) * kernel.b_bytes;
  reserve_scratch(keys_bytes + values_bytes + plan.bytes());
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const size_t num_tiles = qkv.rows / tokens;
  const double cost = 2.0 * num_tiles * tokens * tokens * y.cols;
  parallel(num_tiles * num_heads, cost, [&](size_t item, int thread) {
    char* keys = scratch_[thread].as<char>();
    char* values = keys + keys_bytes;
    char* rest = values + values_bytes;
    const size_t first = item / num_heads * tokens;
    const size_t head_col = item % num_heads * head_dim;
    std::fill(values, values + values_bytes, 0);
    for (size_t t = 0; t < tokens; t++) {
      const float* key = qkv.data + (first + t) * qkv.stride + y.cols + head_col;
      const float* value = key + y.cols;
      // Rows are too far apart for the processor to guess the next ones.
      for (size_t d = 0; d < head_dim; d += 16) {
        __builtin_prefetch(key + kTokensAhead * qkv.stride + d);
        __builtin_prefetch(value + kTokensAhead * qkv.stride + d);
      }
      kernel.store_key(key, head_dim, keys + t / kPanelWidth * panel.keys_size() * kernel.b_bytes, t % kPanelWidth);
      kernel.store_value(value, head_dim, values, panel.value_panel_size(padded), t);
    }
    float* scores = plan.scores(rest);
    float* out = plan.out(rest);
    for (size_t row = 0; row < tokens; row += kernels_.max_rows) {
      const int rows = static_cast<int>(std::min<size_t>(kernels_.max_rows, tokens - row));
      const float* q = qkv.data + (first + row) * qkv.stride + head_col;
      kernel.pack(q, qkv.stride, rows, head_dim, plan.queries(rest));
      for (size_t block = 0; block * kPanelWidth < padded; block++) {
        kernel.tile(rows, plan.queries(rest), keys + block * panel.keys_size() * kernel.b_bytes, panel.key_steps(),
                    scores + block * kPanelWidth, padded, false, keys);
      }
      float sums[kMaxRows];
      softmax_rows(kernels_, kernel, scores, padded, rows, padded, padded, scale, [&](int) { return tokens; }, sums,
                   plan.probabilities(rest));
      for (size_t p = 0; p < panel.value_panels(); p++) {
        kernel.tile(rows, plan.probabilities(rest), values + p * panel.value_panel_size(padded) * kernel.b_bytes,
                    padded / kernel.k_step, out + p * kPanelWidth, plan.head_dim, false, values);
      }
      for (int r = 0; r < rows; r++) {
        kernels_.scale(out + r * plan.head_dim, head_dim, 1.0f / sums[r],
                       y.data + (first + row + r) * y.stride + head_col);
      }
    }
  });
}

namespace {

/** New tokens of one sequence that fall into one block: one thread writes them, in order. */
struct BlockWrite {
  int block;
  int first;
  int last;
};

std::vector<BlockWrite> block_writes(const StepLayout& step) {
  std::vector<BlockWrite> writes;
  for (size_t s = 0; s + 1 < step.query_starts.size(); s++) {
    for (int t = step.query_starts[s]; t < step.query_starts[s + 1];) {
      const int position = step.positions[t];
      const int last = std::min(step.query_starts[s + 1], t + kKvBlockSize - position % kKvBlockSize);
      writes.push_back({step.block_tables[s * step.max_blocks + position / kKvBlockSize], t, last});
      t = last;
    }
  }
  return writes;
}

/** Rotates the pairs (i, i + half) of one head. */
void rotate_head(float* x, size_t half, const float* cos, const float* sin) {
  for (size_t i = 0; i < half; i++) {
    const float a = x[i];
    const float b = x[half + i];
    x[i] = a * cos[i] - b * sin[i];
    x[half + i] = b * cos[i] + a * sin[i];
  }
}

}  // namespace

void CpuOps::rotate_and_store(const Rows& qkv, const StepLayout& step, KvCache& cache, int layer) {
  const auto& kv = static_cast<const PagedKv&>(cache);
  const size_t head_dim = kv.panel().head_dim;
  const size_t half = head_dim / 2;
  const size_t num_kv_heads = (qkv.cols / head_dim - step.num_heads) / 2;
  const std::vector<BlockWrite> writes = block_writes(step);
  parallel(writes.size(), kElementCost * qkv.rows * qkv.cols, [&](size_t item, int) {
    const BlockWrite& write = writes[item];
    for (int t = write.first; t < write.last; t++) {
      float* row = qkv.data + t * qkv.stride;
      for (size_t head = 0; head < step.num_heads + num_kv_heads; head++) {
        rotate_head(row + head * head_dim, half, step.cos + t * half, step.sin + t * half);
      }
      const int slot = step.positions[t] % kKvBlockSize;
      for (size_t head = 0; head < num_kv_heads; head++) {
        const float* key = row + (step.num_heads + head) * head_dim;
        const float* value = key + num_kv_heads * head_dim;
        const int to = static_cast<int>(head);
        kv.kernel().store_key(key, head_dim, kv.keys(layer, write.block, to), slot);
        kv.kernel().store_value(value, head_dim, kv.values(layer, write.block, to),
                                kv.panel().value_panel_size(kKvBlockSize), slot);
      }
    }
  });
}

namespace {

/** Some query rows of one sequence and key head: rows go token by token, inside a token head by head. */
struct QueryGroup {
  int sequence;
  int kv_head;
  int first;  // row
  int rows;
};

}  // namespace

void CpuOps::paged_attention(const Rows& qkv, const StepLayout& step, const KvCache& cache, int layer, const Rows& y) {
  const auto& kv = static_cast<const PagedKv&>(cache);
  const MatrixKernel& kernel = kv.kernel();
  const KvPanel& panel = kv.panel();
  const size_t head_dim = panel.head_dim;
  const int num_kv_heads = static_cast<int>(qkv.cols / head_dim - step.num_heads) / 2;
  const int group = step.num_heads / num_kv_heads;  // query heads that share a key head
  const int num_sequences = static_cast<int>(step.query_starts.size()) - 1;

  std::vector<QueryGroup> groups;
  int longest = 0;
  double cost = 0;
  for (int s = 0; s < num_sequences; s++) {
    const int rows = (step.query_starts[s + 1] - step.query_starts[s]) * group;
    const int num_keys = step.positions[step.query_starts[s + 1] - 1] + 1;
    longest = std::max(longest, num_keys);
    cost += 2 * (rows + kRowsPerRead) * num_keys * head_dim * num_kv_heads;
    // All rows of a head in turn: its keys and values stay in cache.
    for (int head = 0; head < num_kv_heads; head++) {
      for (int first = 0; first < rows; first += kernels_.max_rows) {
        groups.push_back({s, head, first, std::min(kernels_.max_rows, rows - first)});
      }
    }
  }
  const AttentionScratch plan{round_up(longest, kPanelWidth), round_up(head_dim, kPanelWidth)};
  reserve_scratch(plan.bytes());
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const size_t keys_bytes = panel.keys_size() * kernel.b_bytes;
  const size_t values_bytes = panel.value_panels() * panel.value_panel_size(kKvBlockSize) * kernel.b_bytes;

  parallel(groups.size(), cost, [&](size_t item, int thread) {
    const QueryGroup& g = groups[item];
    char* base = scratch_[thread].as<char>();
    float* gathered = plan.gathered(base);
    const int start = step.query_starts[g.sequence];
    const int32_t* blocks = step.block_tables.data() + static_cast<size_t>(g.sequence) * step.max_blocks;
    const auto token = [&](int r) { return start + (g.first + r) / group; };
    const auto column = [&](int r) { return (g.kv_head * group + (g.first + r) % group) * head_dim; };
    for (int r = 0; r < g.rows; r++) {
      const float* q = qkv.data + token(r) * qkv.stride + column(r);
      std::copy(q, q + head_dim, gathered + r * head_dim);
    }
    kernel.pack(gathered, head_dim, g.rows, head_dim, plan.queries(base));

    const size_t num_keys = step.positions[token(g.rows - 1)] + 1;
    const size_t num_blocks = (num_keys + kPanelWidth - 1) / kPanelWidth;
    float* scores = plan.scores(base);
    for (size_t b = 0; b < num_blocks; b++) {
      // Blocks lie anywhere, so the processor cannot guess the next one.
      const char* next = kv.keys(layer, blocks[std::min(b + 1, num_blocks - 1)], g.kv_head);
      if (const size_t far = b + kBlocksAhead; far < num_blocks && starts_run(blocks, far)) {
        ask_for(kv.keys(layer, blocks[far], g.kv_head), keys_bytes);
      }
      kernel.tile(g.rows, plan.queries(base), kv.keys(layer, blocks[b], g.kv_head), panel.key_steps(),
                  scores + b * kPanelWidth, plan.max_keys, false, next);
    }
    float sums[kMaxRows];
    const size_t used = round_up(num_keys, kernel.k_step);
    softmax_rows(kernels_, kernel, scores, plan.max_keys, g.rows, num_blocks * kPanelWidth, used, scale,
                 [&](int r) { return static_cast<size_t>(step.positions[token(r)]) + 1; }, sums,
                 plan.probabilities(base));

    float* out = plan.out(base);
    for (size_t b = 0; b < num_blocks; b++) {
      const char* next = kv.values(layer, blocks[std::min(b + 1, num_blocks - 1)], g.kv_head);
      if (const size_t far = b + kBlocksAhead; far < num_blocks && starts_run(blocks, far)) {
        ask_for(kv.values(layer, blocks[far], g.kv_head), values_bytes);
      }
      const char* values = kv.values(layer, blocks[b], g.kv_head);
      const char* weights = plan.probabilities(base) + b * kPanelWidth * g.rows * kernel.a_bytes;
      const size_t steps = std::min<size_t>(kPanelWidth, used - b * kPanelWidth) / kernel.k_step;
      for (size_t p = 0; p < panel.value_panels(); p++) {
        const size_t at = p * panel.value_panel_size(kKvBlockSize) * kernel.b_bytes;
        kernel.tile(g.rows, weights, values + at, steps, out + p * kPanelWidth, plan.head_dim, b > 0, next + at);
      }
    }
    for (int r = 0; r < g.rows; r++) {
      kernels_.scale(out + r * plan.head_dim, head_dim, 1.0f / sums[r], y.data + token(r) * y.stride + column(r));
    }
  });
}

}  // namespace tessera::cpu
