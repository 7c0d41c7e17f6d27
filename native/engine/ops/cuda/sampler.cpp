#include "ops/cuda/sampler.h"

#include <algorithm>
#include <vector>

#include "ops/cuda/cuda_error.h"
#include "ops/cuda/kernels/kernels.h"
#include "ops/cuda/packer.h"

namespace tessera::cuda {

namespace {

/** Parameters of all rows, as the kernel takes them. */
struct Lists {
  std::vector<SamplingRow> rows;
  std::vector<int32_t> seen_ids, seen_counts, bias_ids;
  std::vector<float> biases;
  std::vector<int32_t> ids_from;  // empty: no penalty is about a token that is still being drawn
  int max_top = 0;

  explicit Lists(std::span<const SamplingParams> params) {
    const auto is_fed = [](const SamplingParams& p) { return p.id_from >= 0 && p.has_penalties(); };
    const bool has_fed = std::any_of(params.begin(), params.end(), is_fed);
    for (const SamplingParams& p : params) {
      rows.push_back({
          .seed = p.seed,
          .position = p.position,
          .temperature = p.temperature,
          .top_p = p.top_p,
          .min_p = p.min_p,
          .repetition_penalty = p.repetition_penalty,
          .presence_penalty = p.presence_penalty,
          .frequency_penalty = p.frequency_penalty,
          .top_k = p.top_k,
          .num_top = p.num_top,
          .first_seen = static_cast<int32_t>(seen_ids.size()),
          .num_seen = static_cast<int32_t>(p.seen_ids.size() + (is_fed(p) ? 1 : 0)),
          .first_bias = static_cast<int32_t>(bias_ids.size()),
          .num_biases = static_cast<int32_t>(p.bias_ids.size()),
      });
      seen_ids.insert(seen_ids.end(), p.seen_ids.begin(), p.seen_ids.end());
      seen_counts.insert(seen_counts.end(), p.seen_counts.begin(), p.seen_counts.end());
      if (is_fed(p)) {
        seen_ids.push_back(-1);
        seen_counts.push_back(0);
      }
      if (has_fed) ids_from.push_back(is_fed(p) ? p.id_from : -1);
      bias_ids.insert(bias_ids.end(), p.bias_ids.begin(), p.bias_ids.end());
      biases.insert(biases.end(), p.biases.begin(), p.biases.end());
      max_top = std::max(max_top, p.num_top);
    }
  }
};

}  // namespace

class Sampler::DrawsInLine final : public Draws {
 public:
  DrawsInLine(Slot& slot, std::span<const SamplingParams> params, int max_top) : slot_(slot), max_top_(max_top) {
    for (const SamplingParams& p : params) num_top_.push_back(p.num_top);
  }
  ~DrawsInLine() override {
    (void)cudaEventSynchronize(slot_.done.get());
    slot_.is_used = false;
  }
  void take(std::span<SampledToken> out) override {
    slot_.done.wait();
    const size_t num_rows = num_top_.size();
    const size_t told = num_rows * max_top_;
    const auto* ids = reinterpret_cast<const int32_t*>(slot_.results.data());
    const auto* values = reinterpret_cast<const float*>(slot_.results.data());
    for (size_t row = 0; row < num_rows; row++) {
      out[row] = {ids[row], values[num_rows + row], {}};
      for (int i = 0; i < num_top_[row] && ids[row] >= 0; i++) {
        const size_t at = 2 * num_rows + row * max_top_ + i;
        if (ids[at] < 0) break;
        out[row].top.push_back({ids[at], values[at + told]});
      }
    }
  }

 private:
  Slot& slot_;
  std::vector<int32_t> num_top_;
  int max_top_;
};

void Sampler::reserve(Ops& ops, const WorkLimits& limits) {
  const auto bytes = [&](Scratch& scratch, size_t count) { scratch.rows(ops, 1, (count + 3) / 4); };
  const size_t num_rows = limits.sequences;
  // One more is seen by the draw that a row goes on from.
  const size_t listed = num_rows * (limits.seen_tokens + 1 + limits.biases);
  // As `begin` packs them: rows, ids with their counts or biases, where they go on from.
  const size_t parameters = num_rows * (sizeof(SamplingRow) + sizeof(int32_t)) + listed * 2 * sizeof(int32_t) + 6 * 16;
  const size_t results = num_rows * (2 + 2 * tessera::kMaxTop) * sizeof(float);
  bytes(parameters_, parameters);
  bytes(sampled_, results);
  bytes(workspace_, sampling_workspace_bytes(static_cast<int>(num_rows), static_cast<int>(limits.vocab_size),
                                             static_cast<int>(listed), 0));
  for (Slot& slot : slots_) {
    slot.parameters.reserve(parameters);
    slot.results.reserve(results);
  }
}

Sampler::Slot& Sampler::free_slot() {
  const auto slot = std::find_if(slots_, slots_ + kMaxStepsInFlight, [](const Slot& each) { return !each.is_used; });
  expects(slot != slots_ + kMaxStepsInFlight, "no more steps in flight than there are places for");
  return *slot;
}

std::unique_ptr<Draws> Sampler::begin(Ops& ops, const Rows& logits, std::span<const SamplingParams> params) {
  const Lists lists(params);
  Slot& slot = free_slot();
  const size_t num_rows = logits.rows;
  auto draws = std::make_unique<DrawsInLine>(slot, params, lists.max_top);
  slot.is_used = true;
  if (num_rows == 0) {
    slot.done.record(device_.stream());
    return draws;
  }
  Packer packer;
  const size_t rows = packer.add(std::span(lists.rows));
  const size_t seen_ids = packer.add(std::span(lists.seen_ids));
  const size_t seen_counts = packer.add(std::span(lists.seen_counts));
  const size_t bias_ids = packer.add(std::span(lists.bias_ids));
  const size_t biases = packer.add(std::span(lists.biases));
  const size_t ids_from = packer.add(std::span(lists.ids_from));
  slot.parameters.reserve(packer.bytes());
  packer.write(slot.parameters.data());
  const auto bytes_of = [&](Scratch& scratch, size_t bytes) {
    return reinterpret_cast<char*>(scratch.rows(ops, 1, (bytes + 3) / 4).data);
  };
  char* base = bytes_of(parameters_, packer.bytes());
  must(cudaMemcpyAsync(base, slot.parameters.data(), packer.bytes(), cudaMemcpyHostToDevice, device_.stream()),
       "send how to sample");
  const SamplingTables tables = {
      .rows = reinterpret_cast<const SamplingRow*>(base + rows),
      .seen_ids = reinterpret_cast<const int32_t*>(base + seen_ids),
      .seen_counts = reinterpret_cast<const int32_t*>(base + seen_counts),
      .bias_ids = reinterpret_cast<const int32_t*>(base + bias_ids),
      .biases = reinterpret_cast<const float*>(base + biases),
      .num_seen = static_cast<int>(lists.seen_ids.size()),
      .num_biases = static_cast<int>(lists.bias_ids.size()),
  };
  if (!lists.ids_from.empty()) {
    expects(last_ids_ != nullptr, "draws before those that go on from them");
    must(feed_seen(last_ids_, reinterpret_cast<const int32_t*>(base + ids_from), tables.rows, static_cast<int>(num_rows),
                   reinterpret_cast<int32_t*>(base + seen_ids), reinterpret_cast<int32_t*>(base + seen_counts),
                   device_.stream()),
         "count a token of the step before");
  }
  // Ids, log-probabilities, and of the likeliest tokens both: 4 bytes each. Ids come first: the next step finds them.
  const size_t told = num_rows * lists.max_top;
  const size_t result_bytes = (2 * num_rows + 2 * told) * 4;
  char* sampled = bytes_of(sampled_, result_bytes);
  const SampledRows targets = {
      .ids = reinterpret_cast<int32_t*>(sampled),
      .logprobs = reinterpret_cast<float*>(sampled) + num_rows,
      .top_ids = reinterpret_cast<int32_t*>(sampled) + 2 * num_rows,
      .top_logprobs = reinterpret_cast<float*>(sampled) + 2 * num_rows + told,
      .max_top = lists.max_top,
  };
  last_ids_ = targets.ids;
  const int vocab = static_cast<int>(logits.cols);
  char* workspace = bytes_of(workspace_, sampling_workspace_bytes(static_cast<int>(num_rows), vocab, tables.num_seen,
                                                                   tables.num_biases));
  must(sample(logits.data, logits.stride, static_cast<int>(num_rows), vocab, tables, workspace, targets,
              device_.stream()),
       "sample");
  slot.results.reserve(result_bytes);
  must(cudaMemcpyAsync(slot.results.data(), sampled, result_bytes, cudaMemcpyDeviceToHost, device_.stream()),
       "copy sampled tokens");
  slot.done.record(device_.stream());
  return draws;
}

}  // namespace tessera::cuda
