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

Rows Decoder::forward(const StepBatch& batch, const float* tiles, std::span<const int32_t> wanted,
                      std::span<const int32_t> ids_from) {
  rope_.angles(batch, cos_, sin_);
  const StepLayout step = {
      .positions = batch.positions,
      .query_starts = batch.query_starts,
      .block_tables = batch.block_tables,
      .max_blocks = batch.max_blocks,
      .num_heads = config_.num_heads,
      .cos = cos_.data(),
      .sin = sin_.data(),
      .token_ids = batch.token_ids,
      .embedding_rows = batch.embedding_rows,
      .wanted = wanted,
      .head_dim = config_.head_dim,
      .ids_from = ids_from,
  };
  const size_t num_rows = ops_.begin_step(step);
  for (const auto& stage : stages_) {
    if (&stage->ops() == &ops_) continue;
    StepLayout behind = step;
    behind.ids_from = {};  // the first device alone embeds, and draws
    stage->ops().begin_step(behind);
  }
  const size_t num_logits = num_rows > batch.num_tokens() ? num_rows : wanted.size();
  const Rows logits = logits_.rows(ops_, num_logits, config_.vocab_size);
  const auto run = [&] { run_step(step, tiles, num_rows, logits); };
  if (stages_.size() == 1) {
    ops_.repeat(run);
  } else {
    run();
  }
  return {logits.data, wanted.size(), logits.cols};
}

void Decoder::run_step(const StepLayout& step, const float* tiles, size_t num_rows, const Rows& logits) {
  Rows x = x_.rows(ops_, num_rows, config_.hidden_size);
  ops_.embed(*weights_.embedding, step, tiles, x);
  Ops* at = &ops_;
  for (const auto& stage : stages_) {
    if (&stage->ops() != at) x = stage->take(x, *at);
    at = &stage->ops();
    stage->run(x, step);
  }
  if (at != &ops_) {
    const Rows returned = x_.rows(ops_, x.rows, x.cols);
    ops_.receive(x, *at, returned);
    x = returned;
  }
  if (logits.rows == 0) return;
  const Rows last = last_.rows(ops_, logits.rows, config_.hidden_size);
  ops_.gather_rows(x, step, last);
  const Rows normal = normal_.activations(ops_, logits.rows, config_.hidden_size);
  ops_.rms_norm(last, weights_.norm.weight.f32(), config_.norm_eps, normal);
  ops_.linear(normal, weights_.head == nullptr ? *weights_.embedding : *weights_.head, {}, logits);
}

}  // namespace tessera
