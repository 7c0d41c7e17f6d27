/** Owns tests of attention and of what fills its cache: odd lengths, shared heads, scattered pages, mixed batches. */
#include <algorithm>
#include <numeric>

#include "ops/cuda/tests/support.h"

using namespace tessera::cuda;
using namespace tessera::cuda::tests;
using tessera::reference::Values;

namespace {

/** One sequence of a step: tokens before it, and new ones. */
struct Span {
  int before;
  int added;
};

/** Rows of `part` of qkv [tokens][heads + 2 kv_heads][head_dim], as the reference wants them. */
Values rows_of(const std::vector<bf16>& qkv, int first, int count, int row_heads, int head, int num_heads, int head_dim) {
  Values values(count, static_cast<size_t>(num_heads) * head_dim);
  for (int t = 0; t < count; t++) {
    for (int i = 0; i < num_heads * head_dim; i++) {
      values.at(t, i) = value_of(qkv[(static_cast<size_t>(first + t) * row_heads + head) * head_dim + i]);
    }
  }
  return values;
}

/** A cache with a history, a step over it, and what attention must give. */
class Scene {
 public:
  Scene(std::vector<Span> spans, int num_heads, int num_kv_heads, int head_dim)
      : spans_(std::move(spans)), num_heads_(num_heads), num_kv_heads_(num_kv_heads), head_dim_(head_dim) {
    int num_pages = 0;
    for (const Span& span : spans_) {
      max_pages_ = std::max(max_pages_, pages_of(span));
      num_pages += pages_of(span);
    }
    std::vector<int32_t> order(num_pages + 3);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_engine());
    tables_.assign(spans_.size() * max_pages_, -1);
    size_t next = 0;
    for (size_t s = 0; s < spans_.size(); s++) {
      for (int p = 0; p < pages_of(spans_[s]); p++) tables_[s * max_pages_ + p] = order[next++];
    }
    // NaN where nobody writes: attention must not look there.
    pages_.reset(new Array<bf16>(std::vector<bf16>(order.size() * num_kv_heads * 2 * kPageTokens * head_dim,
                                                  __float2bfloat16(NAN))));
  }

  /** Writes the tokens before the step, then those of the step, through the kernel; checks attention over them. */
  void run() {
    std::vector<Span> history;
    for (const Span& span : spans_) history.push_back({0, span.before});
    if (std::any_of(history.begin(), history.end(), [](const Span& span) { return span.added > 0; })) store(history);
    store(spans_);
    const size_t width = static_cast<size_t>(num_heads_) * head_dim_;
    Array<bf16> y(std::vector<bf16>(static_cast<size_t>(num_tokens_) * width, __float2bfloat16(0)));
    Array<char> workspace(decode_workspace_bytes(step_.num_sequences, step_.max_keys, num_heads_, head_dim_));
    must(prefill_attention(qkv_->data(), step_, num_heads_, cache(), y.data(), nullptr));
    must(decode_attention(qkv_->data(), step_, num_heads_, cache(), workspace.data(), y.data(), nullptr));
    CHECK_NEAR(kAttentionTolerance, y.read(), expected());
  }

 private:
  static int pages_of(const Span& span) { return (span.before + span.added + kPageTokens - 1) / kPageTokens; }
  PagedLayer cache() { return {pages_->data(), num_kv_heads_, head_dim_}; }
  int row_heads() const { return num_heads_ + 2 * num_kv_heads_; }

  void store(const std::vector<Span>& spans) {
    std::vector<int32_t> positions, sequence_of, starts{0};
    for (size_t s = 0; s < spans.size(); s++) {
      for (int i = 0; i < spans[s].added; i++) {
        positions.push_back(spans[s].before + i);
        sequence_of.push_back(static_cast<int32_t>(s));
      }
      starts.push_back(static_cast<int32_t>(positions.size()));
    }
    num_tokens_ = static_cast<int>(positions.size());
    const int half = head_dim_ / 2;
    std::vector<float> cos, sin;
    for (const int position : positions) {
      for (int i = 0; i < half; i++) {
        const double angle = position * std::pow(10000.0, -2.0 * i / head_dim_);
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
    }
    qkv_.reset(new Array<bf16>(random_bf16(static_cast<size_t>(num_tokens_) * row_heads() * head_dim_)));
    keep_plain(spans, positions);
    Array<float> cos_device(cos), sin_device(sin);
    positions_.reset(new Array<int32_t>(positions));
    sequence_of_.reset(new Array<int32_t>(sequence_of));
    starts_.reset(new Array<int32_t>(starts));
    tables_device_.reset(new Array<int32_t>(tables_));
    step_ = {.positions = positions_->data(),
             .sequence_of = sequence_of_->data(),
             .query_starts = starts_->data(),
             .block_tables = tables_device_->data(),
             .max_pages = max_pages_,
             .num_tokens = num_tokens_,
             .num_sequences = static_cast<int>(spans.size()),
             .max_queries = 0,
             .max_keys = 0};
    for (const Span& span : spans) {
      step_.max_queries = std::max(step_.max_queries, span.added);
      step_.max_keys = std::max(step_.max_keys, span.before + span.added);
    }
    must(rotate_and_store(qkv_->data(), cos_device.data(), sin_device.data(), step_, num_heads_, cache(), nullptr));
  }

  /** What the kernel gets, rotated in fp64 and rounded to bf16 as it is stored; keys and values are kept a sequence. */
  void keep_plain(const std::vector<Span>& spans, const std::vector<int32_t>& positions) {
    const auto round = [](Values& values) {
      for (double& value : values.data) value = value_of(__float2bfloat16(static_cast<float>(value)));
    };
    queries_.clear();
    int first = 0;
    for (size_t s = 0; s < spans.size(); s++) {
      const int count = spans[s].added;
      const std::vector<int> own(positions.begin() + first, positions.begin() + first + count);
      Values q = rows_of(qkv_->given(), first, count, row_heads(), 0, num_heads_, head_dim_);
      Values k = rows_of(qkv_->given(), first, count, row_heads(), num_heads_, num_kv_heads_, head_dim_);
      const Values v = rows_of(qkv_->given(), first, count, row_heads(), num_heads_ + num_kv_heads_, num_kv_heads_, head_dim_);
      tessera::reference::rotate(q, head_dim_, own, 10000.0);
      tessera::reference::rotate(k, head_dim_, own, 10000.0);
      round(q);
      round(k);
      queries_.push_back(q);
      keys_.resize(spans.size());
      values_.resize(spans.size());
      keys_[s].insert(keys_[s].end(), k.data.begin(), k.data.end());
      values_[s].insert(values_[s].end(), v.data.begin(), v.data.end());
      first += count;
    }
  }

  std::vector<double> expected() const {
    std::vector<double> all;
    for (size_t s = 0; s < spans_.size(); s++) {
      const size_t total = spans_[s].before + spans_[s].added;
      Values k(total, static_cast<size_t>(num_kv_heads_) * head_dim_), v(total, k.cols);
      k.data = keys_[s];
      v.data = values_[s];
      std::vector<size_t> visible;
      for (int i = 0; i < spans_[s].added; i++) visible.push_back(spans_[s].before + i + 1);
      const Values y = tessera::reference::attention(queries_[s], k, v, num_heads_, num_kv_heads_, visible);
      all.insert(all.end(), y.data.begin(), y.data.end());
    }
    return all;
  }

  std::vector<Span> spans_;
  int num_heads_, num_kv_heads_, head_dim_;
  int max_pages_ = 0;
  int num_tokens_ = 0;
  std::vector<int32_t> tables_;
  std::unique_ptr<Array<bf16>> pages_, qkv_;
  std::unique_ptr<Array<int32_t>> positions_, sequence_of_, starts_, tables_device_;
  StepTables step_;
  std::vector<Values> queries_;
  std::vector<std::vector<double>> keys_, values_;
};

/** `spread`: of queries and of keys. */
void check_tiles(int num_tiles, int tokens, int num_heads, int head_dim, float spread = 1) {
  const size_t width = static_cast<size_t>(num_heads) * head_dim;
  std::vector<bf16> values = random_bf16(num_tiles * tokens * 3 * width);
  for (size_t i = 0; i < values.size(); i++) {
    if (i / width % 3 < 2) values[i] = __float2bfloat16(static_cast<float>(value_of(values[i])) * spread);
  }
  Array<bf16> qkv(std::move(values)), y(num_tiles * tokens * width);
  must(tile_attention(qkv.data(), num_tiles, tokens, num_heads, head_dim, y.data(), nullptr));
  std::vector<double> expected;
  for (int t = 0; t < num_tiles; t++) {
    const auto part = [&](int p) {
      return rows_of(qkv.given(), t * tokens, tokens, 3 * num_heads, p * num_heads, num_heads, head_dim);
    };
    const std::vector<size_t> all(tokens, tokens);
    const Values out = tessera::reference::attention(part(0), part(1), part(2), num_heads, num_heads, all);
    expected.insert(expected.end(), out.data.begin(), out.data.end());
  }
  CHECK_NEAR(kAttentionTolerance, y.read(), expected);
}

}  // namespace

TEST(tile_attention_of_odd_lengths) {
  check_tiles(2, 17, 3, 16);
  check_tiles(1, 65, 2, 32);
  check_tiles(1, 130, 1, 64);
  check_tiles(1, 70, 1, 128);
  check_tiles(1, 37, 1, 88);
  check_tiles(1, 5, 5, 8);
}

// Rows whose scores lie hundreds apart: only relative to its own largest does none overflow.
TEST(scores_far_apart) { check_tiles(1, 37, 2, 32, 8); }

TEST(prompts_of_odd_lengths) {
  Scene({{0, 1}, {0, 2}, {0, 33}}, 4, 2, 32).run();
  Scene({{0, 65}, {0, 64}}, 2, 1, 64).run();
  Scene({{0, 40}}, 3, 1, 128).run();
  Scene({{0, 21}}, 6, 3, 24).run();
}

TEST(chunks_go_on_behind_what_is_there) {
  Scene({{31, 2}, {64, 70}, {100, 3}}, 4, 1, 32).run();
  Scene({{33, 65}}, 7, 1, 64).run();
}

TEST(decoding_over_scattered_pages) {
  Scene({{0, 1}, {31, 1}, {32, 1}, {255, 1}, {256, 1}, {600, 1}}, 4, 2, 32).run();
  Scene({{70, 1}, {5, 1}}, 14, 2, 64).run();
  Scene({{130, 1}}, 16, 1, 128).run();
}

TEST(prompts_and_decoding_in_one_step) { Scene({{40, 1}, {0, 35}, {7, 1}, {60, 5}}, 4, 2, 64).run(); }
