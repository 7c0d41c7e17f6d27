/** Owns the proof of attention: against the reference at odd shapes, with equal bits in every chunk and company. */
#include <cmath>
#include <functional>
#include <limits>

#include "ops/reference/reference.h"
#include "tests/check.h"
#include "tests/support.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

/** A tile's q, k and v side by side, and what attention of `heads` heads over it should be. */
struct TileCase {
  size_t tokens, heads, dim;
  std::vector<float> qkv;

  size_t cols() const { return heads * dim; }
  float* row(size_t token, size_t part) { return qkv.data() + (token * 3 + part) * cols(); }

  /** By a device, on two threads. */
  std::vector<float> attend(const Variant& variant, WeightType type) {
    auto ops = variant.open(2);
    const size_t rows = qkv.size() / (3 * cols());
    std::vector<float> y(rows * cols());
    ops->tile_attention({qkv.data(), rows, 3 * cols()}, tokens, static_cast<int>(heads), type, {y.data(), rows, cols()});
    return y;
  }

  /** By the reference, of one tile, from what `convert` makes of each number. */
  reference::Values expected(size_t tile, const std::function<float(float)>& convert) {
    reference::Values parts[3] = {{tokens, cols()}, {tokens, cols()}, {tokens, cols()}};
    for (size_t t = 0; t < tokens; t++) {
      for (size_t part = 0; part < 3; part++) {
        for (size_t c = 0; c < cols(); c++) parts[part].at(t, c) = convert(row(tile * tokens + t, part)[c]);
      }
    }
    return reference::attention(parts[0], parts[1], parts[2], heads, heads, std::vector<size_t>(tokens, tokens));
  }
};

TileCase make_tiles(size_t tiles, size_t tokens, size_t heads, size_t dim) {
  return {tokens, heads, dim, Random(tokens).values(tiles * tokens * 3 * heads * dim, 2)};
}

bool multiplies_int8_scores(const Variant& variant) {
  return variant.dtype == Dtype::kBf16 && variant.kernels->tile_attention != nullptr;
}

TEST(tile_attention_agrees_with_the_reference) {
  struct Shape {
    size_t tiles, tokens, heads, dim;
  };
  for (const auto [tiles, tokens, heads, dim] : {Shape{1, 5, 1, 8}, {2, 17, 3, 16}, {1, 65, 2, 64}, {3, 33, 1, 40}, {1, 100, 1, 128}}) {
    TileCase tile = make_tiles(tiles, tokens, heads, dim);
    for (const Variant& variant : all_variants()) {
      const auto y = tile.attend(variant, WeightType::kBase);
      for (size_t i = 0; i < tiles; i++) {
        const std::vector<float> got(y.begin() + i * tokens * tile.cols(), y.begin() + (i + 1) * tokens * tile.cols());
        const auto expected = tile.expected(i, [&](float value) { return variant.cached(value); });
        // Probabilities are rounded once or twice; values are below 2.
        CHECK(largest_difference(got, expected) < 4 * variant.epsilon() + 3e-6);
      }
    }
  }
}

TEST(int8_scores_do_not_mind_what_all_keys_have_in_common) {
  for (const size_t dim : {8, 40, 64, 128}) {
    TileCase tile = make_tiles(1, 77, 2, dim);
    for (const float common : {0.0f, 50.0f}) {
      for (size_t t = 0; t < tile.tokens; t++) {
        for (size_t c = 0; c < tile.cols(); c++) tile.row(t, 1)[c] += common;
      }
      const auto expected = tile.expected(0, [](float value) { return value; });
      for (const Variant& variant : all_variants()) {
        if (!multiplies_int8_scores(variant)) continue;
        // A score of up to 4 sqrt(dim) is wrong by a 127th of its operands' largest, at random.
        CHECK(largest_difference(tile.attend(variant, WeightType::kInt8), expected) < 0.04);
      }
    }
  }
}

TEST(tile_attention_of_scores_far_apart) {
  TileCase tile = make_tiles(1, 100, 1, 64);
  for (const size_t token : {3, 40, 99}) {
    // These see one key, by scores hundreds larger than all before it.
    for (size_t c = 0; c < 64; c++) tile.row(60, 1)[c] = tile.row(token, 0)[c] *= 8;
    for (const Variant& variant : all_variants()) {
      for (const WeightType type : {WeightType::kBase, WeightType::kInt8}) {
        const auto y = tile.attend(variant, type);
        for (size_t c = 0; c < 64; c++) {
          CHECK(std::fabs(y[token * 64 + c] - tile.row(60, 2)[c]) < 4 * variant.epsilon() + 1e-5);
        }
      }
    }
  }
}

TEST(a_key_that_is_no_number_reaches_all_of_its_head) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    TileCase tile = make_tiles(1, 50, 2, 32);
    tile.row(45, 1)[7] = bad;
    for (const Variant& variant : all_variants()) {
      for (const WeightType type : {WeightType::kBase, WeightType::kInt8}) {
        const auto y = tile.attend(variant, type);
        for (size_t t = 0; t < tile.tokens; t++) {
          // An infinite key may as well have a weight of 0.
          if (std::isnan(bad)) CHECK(std::isnan(y[t * 64]));
          CHECK(std::isfinite(y[t * 64 + 32]));
        }
      }
    }
  }
}

/** Sequences of made-up queries, keys and values over one cache, fed in any chunks. */
struct Paged {
  int heads, kv_heads, dim;
  std::vector<std::vector<float>> qkv;  // of each sequence, [length][q | k | v]
  std::vector<float> cos, sin;          // [longest][dim / 2]

  size_t cols() const { return static_cast<size_t>(heads + 2 * kv_heads) * dim; }
  int length(size_t s) const { return static_cast<int>(qkv[s].size() / cols()); }
};

constexpr int kBlocksEach = 8;
constexpr double kTheta = 10'000;

Paged make_paged(int heads, int kv_heads, int dim, const std::vector<int>& lengths) {
  Paged out{heads, kv_heads, dim, {}, {}, {}};
  Random random(dim);
  for (int length : lengths) out.qkv.push_back(random.values(length * out.cols(), 2));
  for (int position = 0; position < kBlocksEach * kKvBlockSize; position++) {
    for (int i = 0; i < dim / 2; i++) {
      const double angle = position * std::pow(kTheta, -2.0 * i / dim);
      out.cos.push_back(static_cast<float>(std::cos(angle)));
      out.sin.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return out;
}

/** Runs one step of chunks [first, last) of some sequences; writes their outputs. */
void run_step(Ops& ops, KvCache& cache, const Paged& paged, const std::vector<size_t>& sequences,
              const std::vector<int>& firsts, const std::vector<int>& lasts, std::vector<std::vector<float>>& outputs) {
  const size_t half = paged.dim / 2;
  const size_t out_cols = static_cast<size_t>(paged.heads) * paged.dim;
  std::vector<int32_t> positions, starts = {0}, tables;
  std::vector<float> qkv, cos, sin;
  for (size_t i = 0; i < sequences.size(); i++) {
    const size_t s = sequences[i];
    for (int t = firsts[i]; t < lasts[i]; t++) {
      positions.push_back(t);
      qkv.insert(qkv.end(), paged.qkv[s].begin() + t * paged.cols(), paged.qkv[s].begin() + (t + 1) * paged.cols());
      cos.insert(cos.end(), paged.cos.begin() + t * half, paged.cos.begin() + (t + 1) * half);
      sin.insert(sin.end(), paged.sin.begin() + t * half, paged.sin.begin() + (t + 1) * half);
    }
    starts.push_back(static_cast<int32_t>(positions.size()));
    // Interleaved and backwards: neighbours in a sequence are not neighbours in memory.
    for (int b = 0; b < kBlocksEach; b++) {
      tables.push_back(static_cast<int32_t>((kBlocksEach - 1 - b) * paged.qkv.size() + s));
    }
  }
  const StepLayout step = {positions, starts, tables, kBlocksEach, paged.heads, cos.data(), sin.data()};
  const Rows rows(qkv.data(), positions.size(), paged.cols());
  ops.rotate_and_store(rows, step, cache, 1);
  std::vector<float> y(positions.size() * out_cols);
  ops.paged_attention(rows, step, cache, 1, {y.data(), positions.size(), out_cols});
  for (size_t i = 0; i < sequences.size(); i++) {
    std::copy(y.begin() + starts[i] * out_cols, y.begin() + starts[i + 1] * out_cols,
              outputs[sequences[i]].begin() + firsts[i] * out_cols);
  }
}

std::unique_ptr<KvCache> make_cache(Ops& ops, const Paged& paged) {
  return ops.make_kv_cache({2, paged.kv_heads, paged.dim}, 0, static_cast<int>(paged.qkv.size()) * kBlocksEach);
}

std::vector<std::vector<float>> empty_outputs(const Paged& paged) {
  std::vector<std::vector<float>> out;
  for (size_t s = 0; s < paged.qkv.size(); s++) {
    out.emplace_back(static_cast<size_t>(paged.length(s)) * paged.heads * paged.dim);
  }
  return out;
}

/** All sequences, each whole and alone. */
std::vector<std::vector<float>> run_alone(const Variant& variant, const Paged& paged) {
  auto ops = variant.open();
  auto cache = make_cache(*ops, paged);
  auto out = empty_outputs(paged);
  for (size_t s = 0; s < paged.qkv.size(); s++) run_step(*ops, *cache, paged, {s}, {0}, {paged.length(s)}, out);
  return out;
}

const std::vector<std::vector<int>> kHeads = {{4, 2, 16}, {14, 2, 64}, {3, 1, 24}, {2, 2, 128}, {5, 1, 8}};

TEST(paged_attention_agrees_with_the_reference) {
  for (const auto& heads : kHeads) {
    const Paged paged = make_paged(heads[0], heads[1], heads[2], {1, 31, 32, 75});
    for (const Variant& variant : all_variants()) {
      const auto got = run_alone(variant, paged);
      for (size_t s = 0; s < paged.qkv.size(); s++) {
        const size_t length = paged.length(s);
        const size_t q_cols = static_cast<size_t>(paged.heads) * paged.dim;
        const size_t kv_cols = static_cast<size_t>(paged.kv_heads) * paged.dim;
        reference::Values q(length, q_cols), k(length, kv_cols), v(length, kv_cols);
        std::vector<int> positions(length);
        std::vector<size_t> visible(length);
        for (size_t t = 0; t < length; t++) {
          const float* row = paged.qkv[s].data() + t * paged.cols();
          for (size_t c = 0; c < q_cols; c++) q.at(t, c) = row[c];
          for (size_t c = 0; c < kv_cols; c++) k.at(t, c) = row[q_cols + c];
          for (size_t c = 0; c < kv_cols; c++) v.at(t, c) = row[q_cols + kv_cols + c];
          positions[t] = static_cast<int>(t);
          visible[t] = t + 1;
        }
        reference::rotate(q, paged.dim, positions, kTheta);
        reference::rotate(k, paged.dim, positions, kTheta);
        const auto expected = reference::attention(q, k, v, paged.heads, paged.kv_heads, visible);
        // q, k, v and the probabilities are rounded; scores of up to 4 sqrt(dim) pass the error on.
        const double tolerance = variant.epsilon() * 8 * std::sqrt(static_cast<double>(paged.dim)) + 2e-5;
        CHECK(largest_difference(got[s], expected) < tolerance);
      }
    }
  }
}

TEST(paged_attention_has_the_same_bits_in_every_chunk_and_company) {
  for (const auto& heads : kHeads) {
    const Paged paged = make_paged(heads[0], heads[1], heads[2], {1, 31, 33, 90, 64});
    for (const Variant& variant : all_variants()) {
      const auto alone = run_alone(variant, paged);
      for (int round = 0; round < 4; round++) {
        auto ops = variant.open(1 + round % 3);
        auto cache = make_cache(*ops, paged);
        auto out = empty_outputs(paged);
        Random random(round);
        std::vector<int> done(paged.qkv.size());
        while (true) {
          std::vector<size_t> sequences;
          std::vector<int> firsts, lasts;
          bool any_left = false;
          for (size_t s = 0; s < done.size(); s++) {
            const int left = paged.length(s) - done[s];
            any_left |= left > 0;
            if (left == 0 || random.below(3) == 0) continue;
            const int count = 1 + static_cast<int>(random.below(round == 0 ? 1 : std::min(left, 40)));
            sequences.push_back(s);
            firsts.push_back(done[s]);
            lasts.push_back(done[s] += count);
          }
          if (!any_left) break;
          if (!sequences.empty()) run_step(*ops, *cache, paged, sequences, firsts, lasts, out);
        }
        for (size_t s = 0; s < out.size(); s++) CHECK(same_bits(out[s], alone[s]));
      }
    }
  }
}

TEST(a_block_left_full_of_nan_does_no_harm) {
  Paged paged = make_paged(4, 2, 16, {41, 41});
  const auto clean = paged.qkv[1];
  for (const Variant& variant : all_variants()) {
    auto ops = variant.open();
    auto cache = make_cache(*ops, paged);
    auto expected = empty_outputs(paged);
    paged.qkv[1] = clean;
    for (int t = 0; t < 41; t++) run_step(*ops, *cache, paged, {1}, {t}, {t + 1}, expected);
    std::fill(paged.qkv[1].begin(), paged.qkv[1].end(), std::numeric_limits<float>::quiet_NaN());
    auto out = empty_outputs(paged);
    run_step(*ops, *cache, paged, {1}, {0}, {41}, out);
    CHECK(std::isnan(out[1][0]));
    paged.qkv[1] = clean;
    for (int t = 0; t < 41; t++) run_step(*ops, *cache, paged, {1}, {t}, {t + 1}, out);
    CHECK(same_bits(out[1], expected[1]));
  }
}

}  // namespace
