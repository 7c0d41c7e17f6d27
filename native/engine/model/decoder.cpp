#include "model/decoder.h"

#include <algorithm>

namespace tessera {

Decoder::Decoder(const DecoderConfig& config, const DecoderWeights& weights, const Placement& placement,
                 uint64_t kv_cache_bytes)
    : config_(config), weights_(weights), ops_(placement.first()), rope_(config) {
  const std::span<const DecoderLayer> layers(weights.layers);
  for (size_t first = 0, last; first < layers.size(); first = last) {
    Ops& ops = placement.of_layer(first);
    for (last = first + 1; last < layers.size() && &placement.of_layer(last) == &ops;) last++;
    // Of blocks every stage has as many, so each takes its layers' share of the memory.
    const auto share = static_cast<uint64_t>(static_cast<double>(kv_cache_bytes) * (last - first) / layers.size());
    stages_.push_back(std::make_unique<DecoderStage>(config, layers.subspan(first, last - first), ops, share));
  }
}

int Decoder::num_kv_blocks() const {
  int least = stages_[0]->num_kv_blocks();
  for (const auto& stage : stages_) least = std::min(least, stage->num_kv_blocks());
  return least;
}

Rows Decoder::forward(const StepBatch& batch, const float* tiles, std::span<const int32_t> wanted) {
  StageStep step{batch, {}, {}};
  rope_.angles(batch, step.cos, step.sin);
  Rows x = x_.rows(ops_, batch.num_tokens(), config_.hidden_size);
  ops_.embed(*weights_.embedding, batch.token_ids, batch.embedding_rows, tiles, x);
  Ops* at = &ops_;
  for (const auto& stage : stages_) {
    if (&stage->ops() != at) x = stage->take(x, *at);
    at = &stage->ops();
    stage->run(x, step);
  }
  if (at != &ops_) {
    returned_ = transfer(x, *at, ops_);
    x = {returned_.f32(), x.rows, x.cols};
  }
  const Rows last = last_.rows(ops_, wanted.size(), config_.hidden_size);
  ops_.gather_rows(x, wanted, last);
  ops_.rms_norm(last, weights_.norm.weight.f32(), config_.norm_eps, last);
  const Rows logits = logits_.rows(ops_, wanted.size(), config_.vocab_size);
  ops_.linear(last, weights_.head == nullptr ? *weights_.embedding : *weights_.head, {}, logits);
  return logits;
}

}  // namespace tessera
