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
  int max_top = 0;

  explicit Lists(std::span<const SamplingParams> params) {
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
          .num_seen = static_cast<int32_t>(p.seen_ids.size()),
          .first_bias = static_cast<int32_t>(bias_ids.size()),
          .num_biases = static_cast<int32_t>(p.bias_ids.size()),
      });
      seen_ids.insert(seen_ids.end(), p.seen_ids.begin(), p.seen_ids.end());
      seen_counts.insert(seen_counts.end(), p.seen_counts.begin(), p.seen_counts.end());
      bias_ids.insert(bias_ids.end(), p.bias_ids.begin(), p.bias_ids.end());
      biases.insert(biases.end(), p.biases.begin(), p.biases.end());
      max_top = std::max(max_top, p.num_top);
    }
  }
};

}  // namespace

void Sampler::run(Ops& ops, const Rows& logits, std::span<const SamplingParams> params, std::span<SampledToken> out) {
  const Lists lists(params);
  const size_t num_rows = logits.rows;
  Packer packer;
  const size_t rows = packer.add(std::span(lists.rows));
  const size_t seen_ids = packer.add(std::span(lists.seen_ids));
  const size_t seen_counts = packer.add(std::span(lists.seen_counts));
  const size_t bias_ids = packer.add(std::span(lists.bias_ids));
  const size_t biases = packer.add(std::span(lists.biases));
  host_.reserve(packer.bytes());
  packer.write(host_.data());
  const auto bytes_of = [&](Scratch& scratch, size_t bytes) {
    return reinterpret_cast<char*>(scratch.rows(ops, 1, (bytes + 3) / 4).data);
  };
  char* base = bytes_of(parameters_, packer.bytes());
  must(cudaMemcpyAsync(base, host_.data(), packer.bytes(), cudaMemcpyHostToDevice, device_.stream()),
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
  // Ids, log-probabilities, and of the likeliest tokens both: 4 bytes each.
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
  const int vocab = static_cast<int>(logits.cols);
  char* workspace = bytes_of(workspace_, sampling_workspace_bytes(static_cast<int>(num_rows), vocab, tables.num_seen,
                                                                   tables.num_biases));
  must(sample(logits.data, logits.stride, static_cast<int>(num_rows), vocab, tables, workspace, targets,
              device_.stream()),
       "sample");
  results_.reserve(result_bytes);
  must(cudaMemcpyAsync(results_.data(), sampled, result_bytes, cudaMemcpyDeviceToHost, device_.stream()),
       "copy sampled tokens");
  device_.synchronise();

  const auto* ids = reinterpret_cast<const int32_t*>(results_.data());
  const auto* values = reinterpret_cast<const float*>(results_.data());
  for (size_t row = 0; row < num_rows; row++) {
    out[row] = {ids[row], values[num_rows + row], {}};
    for (int i = 0; i < params[row].num_top && ids[row] >= 0; i++) {
      const size_t at = 2 * num_rows + row * lists.max_top + i;
      if (ids[at] < 0) break;
      out[row].top.push_back({ids[at], values[at + told]});
    }
  }
}

}  // namespace tessera::cuda
