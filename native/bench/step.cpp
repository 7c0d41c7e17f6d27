#include "../bench/step.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../bench/machine.h"
#include "../bench/timed_ops.h"
#include "model/decoder.h"
#include "ops/cpu/cpu_ops.h"
#include "tests/support.h"

namespace tessera::bench {

namespace {

constexpr int kStepsARun = 12;
constexpr int kHidden = 896, kLayers = 24, kHeads = 14, kKvHeads = 2, kHeadDim = 64, kMlp = 4864, kVocabulary = 151'674;

DecoderConfig config_of_1b() {
  DecoderConfig config;
  config.vocab_size = kVocabulary;
  config.hidden_size = kHidden;
  config.num_layers = kLayers;
  config.num_heads = kHeads;
  config.num_kv_heads = kKvHeads;
  config.head_dim = kHeadDim;
  config.intermediate_size = kMlp;
  config.qkv_bias = true;
  config.trained_length = config.context_length = 32'768;
  config.norm_eps = 1e-6f;
  config.rope_theta = 1e6;
  return config;
}

/** Every matrix has the same values: they lie in memory of their own all the same. */
class RandomWeights {
 public:
  RandomWeights(Ops& ops, WeightType type) : ops_(ops), values_(static_cast<size_t>(kVocabulary) * kHidden) {
    tests::Random random(1);
    for (auto& value : values_) value = cpu::to_bf16(random.value() * 0.03f);
    const size_t qkv = (kHeads + 2 * kKvHeads) * kHeadDim;
    weights.embedding = matrix({{kVocabulary, kHidden}}, Join::kStacked);
    const bool is_quantised = type != WeightType::kBase;
    weights.head = matrix({{kVocabulary, kHidden}}, Join::kStacked, is_quantised ? WeightType::kInt8Head : type);
    weights.norm = norm();
    for (int i = 0; i < kLayers; i++) {
      DecoderLayer layer;
      layer.norm1 = norm();
      layer.norm2 = norm();
      layer.qkv = {matrix({{qkv, kHidden}}, Join::kStacked, type), ops.allocate(4 * qkv)};
      layer.out = {matrix({{kHidden, kHidden}}, Join::kStacked, type), {}};
      layer.gate_up = {matrix({{kMlp, kHidden}, {kMlp, kHidden}}, Join::kGateUp, type), {}};
      layer.down = {matrix({{kHidden, kMlp}}, Join::kStacked, type), {}};
      weights.layers.push_back(std::move(layer));
    }
  }

  DecoderWeights weights;

 private:
  struct Shape {
    size_t rows, cols;
  };

  std::unique_ptr<Matrix> matrix(const std::vector<Shape>& shapes, Join join, WeightType type = WeightType::kBase) {
    std::vector<HostTensor> parts;
    for (const auto& [rows, cols] : shapes) parts.push_back({"random", values_.data(), DiskType::kBf16, rows, cols});
    return ops_.load_matrix(parts, join, type);
  }

  Norm norm() {
    const std::vector<float> ones(kHidden, 1.0f);
    return {ops_.upload(ones.data(), 4 * ones.size()), {}};
  }

  Ops& ops_;
  std::vector<uint16_t> values_;
};

/** New tokens [first, first + count) of each of `batch` sequences, blocks in runs as the scheduler gives them out. */
struct Tokens {
  std::vector<int32_t> ids, positions, rows, starts = {0}, tables, lengths, wanted;
  std::vector<uint8_t> sample;
  StepBatch batch;

  Tokens(int sequences, int first, int count, int max_blocks) {
    for (int s = 0; s < sequences; s++) {
      for (int t = first; t < first + count; t++) {
        ids.push_back((t * 7919 + s * 104'729) % 150'000);
        positions.push_back(t);
        rows.push_back(-1);
      }
      starts.push_back(static_cast<int32_t>(ids.size()));
      wanted.push_back(starts.back() - 1);
      for (int b = 0; b < max_blocks; b++) tables.push_back(s * max_blocks + b);
      lengths.push_back(first + count);
      sample.push_back(1);
    }
    batch.token_ids = ids;
    batch.positions = positions;
    batch.embedding_rows = rows;
    batch.query_starts = starts;
    batch.block_tables = tables;
    batch.max_blocks = max_blocks;
    batch.prompt_lengths = lengths;
    batch.sample = sample;
  }
};

constexpr double kLayerWeights =
    kLayers * (2.0 * kHidden * kHidden + 2.0 * kHidden * kKvHeads * kHeadDim + 3.0 * kHidden * kMlp);
constexpr double kHeadWeights = 1.0 * kHidden * kVocabulary;

double decode_bytes(const DecoderWeights& weights, int batch, int context) {
  double bytes = weights.head->bytes + 2.0 * batch * context * 2 * kLayers * kKvHeads * kHeadDim;
  for (const DecoderLayer& layer : weights.layers) {
    for (const Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) bytes += linear->weight->bytes;
  }
  return bytes;
}

/** Of one prompt, logits of its last token. */
double prefill_operations(int context) {
  return 2 * (context * kLayerWeights + 1.0 * kLayers * context * context * kHidden + kHeadWeights);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class StepBench {
 public:
  StepBench(WeightType type, int num_threads, int sequences, int context)
      : placement_(EngineOptions{},
                   [&](int) -> std::unique_ptr<Ops> {
                     auto timed = std::make_unique<TimedOps>(
                         std::make_unique<cpu::CpuOps>(Dtype::kBf16, num_threads, cpu::choose_kernels()));
                     ops_ = timed.get();
                     return timed;
                   },
                   [](std::span<Ops* const> devices) { return std::make_unique<LoneDevice>(*devices[0]); }),
        random_(*ops_, type), config_(config_of_1b()),
        decoder_(config_, {&random_.weights, 1}, placement_, 0),
        sequences_(sequences), context_(context), max_blocks_((context + 64) / kKvBlockSize) {
    decoder_.open_caches(static_cast<uint64_t>(sequences) * (context + 64) * 2 * kLayers * kKvHeads * kHeadDim * 2, 0);
  }

  /** Fills the caches of all sequences, one by one. */
  void prefill(int chunk) {
    for (int s = 0; s < sequences_; s++) {
      for (int first = 0; first < context_; first += chunk) {
        Tokens tokens(1, first, std::min(chunk, context_ - first), max_blocks_);
        for (auto& block : tokens.tables) block += s * max_blocks_;
        run(tokens, first + chunk >= context_);
      }
    }
  }

  void decode() { run(Tokens(sequences_, context_, 1, max_blocks_), true); }

  std::map<std::string, double> take_seconds() { return ops_->take_seconds(); }
  /** That a decoding step reads. */
  double bytes() const { return decode_bytes(random_.weights, sequences_, context_); }

 private:
  void run(const Tokens& tokens, bool draws) {
    const std::span<const int32_t> wanted = draws ? std::span<const int32_t>(tokens.wanted) : std::span<const int32_t>();
    const Rows logits = decoder_.forward(tokens.batch, nullptr, wanted, {});
    if (!draws) return;
    std::vector<SampledToken> sampled(wanted.size());
    ops_->sample(logits, std::vector<SamplingParams>(wanted.size()), sampled);
  }

  TimedOps* ops_ = nullptr;
  Placement placement_;
  RandomWeights random_;
  DecoderConfig config_;
  Decoder decoder_;
  int sequences_, context_, max_blocks_;
};

}  // namespace

int print_step(WeightType type, int num_threads, int batch, int context, int chunk, int runs) {
  using Clock = std::chrono::steady_clock;
  const bool decodes = chunk <= 1;
  const int steps = decodes ? kStepsARun : 1;
  StepBench bench(type, num_threads, batch, context);
  ThreadPool pool(num_threads);
  ReadTest reading(pool);
  bench.prefill(decodes ? 512 : chunk);
  const auto measure = [&] { return decodes ? reading.gbytes() : bf16_peak(pool); };
  std::vector<double> times, limits = {measure()}, shares;
  std::map<std::string, std::vector<double>> parts;
  for (int i = 0; i < runs; i++) {
    if (decodes) bench.decode();
    bench.take_seconds();
    const auto start = Clock::now();
    for (int step = 0; step < steps; step++) decodes ? bench.decode() : bench.prefill(chunk);
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count() / steps);
    for (const auto& [name, spent] : bench.take_seconds()) parts[name].push_back(spent / steps);
    limits.push_back(measure());
    const double limit = (limits[i] + limits[i + 1]) / 2;
    const double work = decodes ? bench.bytes() : batch * prefill_operations(context);
    shares.push_back(1e-9 * work / times.back() / limit);
  }
  std::printf("%s, batch %d, %d tokens: %.2f ms (%.2f at best), %.1f %% of %s (%.1f %s)\n",
              decodes ? "decoding step" : "prompts", batch, context, median(times) * 1e3,
              *std::min_element(times.begin(), times.end()) * 1e3, 100 * median(shares),
              decodes ? "reading" : "multiplying", median(limits), decodes ? "GB/s" : "GFLOP/s");
  for (const auto& [name, seconds] : parts) std::printf("  %-28s %9.3f ms\n", name.c_str(), median(seconds) * 1e3);
  return 0;
}

}  // namespace tessera::bench
