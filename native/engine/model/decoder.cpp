#include "model/decoder.h"

#include <algorithm>
#include <cmath>

#include "model/micro_batches.h"

namespace tessera {

Decoder::Decoder(const DecoderConfig& config, std::span<const DecoderWeights> weights, const Placement& placement,
                 int micro_batch_rows)
    : config_(config), ops_(placement.first()), group_(placement.group()), rope_(config),
      micro_batch_rows_(ops_.is_asynchronous() ? micro_batch_rows : 0) {
  const int num_shards = placement.num_shards();
  for (int i = 0; i < num_shards; i++) {
    const Range ids = ranges_of(config, {i, num_shards}).vocabulary;
    vocabulary_.emplace_back(new Vocabulary{placement.device(i), weights[i], ids, {}, {}, {}, {}});
  }
  const size_t num_layers = weights[0].layers.size();
  for (size_t first = 0, last; first < num_layers; first = last) {
    for (last = first + 1; last < num_layers && &placement.of_layer(last, 0) == &placement.of_layer(first, 0);) last++;
    std::vector<std::unique_ptr<DecoderShard>> shards;
    for (int i = 0; i < num_shards; i++) {
      const auto layers = std::span(weights[i].layers).subspan(first, last - first);
      const Shard shard = {i, num_shards};
      shards.push_back(
          std::make_unique<DecoderShard>(share_of(config, shard), shard, layers, placement.of_layer(first, i)));
    }
    stages_.push_back(std::make_unique<DecoderStage>(std::move(shards), group_));
  }
}

std::vector<DecoderShard*> Decoder::shards() const {
  std::vector<DecoderShard*> all;
  for (const auto& stage : stages_) {
    for (const auto& shard : stage->shards()) all.push_back(shard.get());
  }
  return all;
}

void Decoder::reserve(const WorkLimits& limits) {
  const size_t decode_rows = ops_.decode_rows(limits.sequences);
  const size_t rows = std::max(limits.tokens, decode_rows);
  logits_.rows(ops_, decode_rows, config_.vocab_size);
  for (const auto& part : vocabulary_) {
    part->x.rows(part->ops, rows, config_.hidden_size);
    part->last.rows(part->ops, decode_rows, config_.hidden_size);
    part->normal.activations(part->ops, decode_rows, config_.hidden_size);
    if (&part->ops != &ops_) part->logits.rows(part->ops, decode_rows, part->ids.count);
  }
  for (DecoderShard* shard : shards()) {
    shard->reserve(rows, stages_.size() > 1);
    shard->ops().reserve(limits);
  }
}

void Decoder::open_caches(uint64_t bytes, double share) {
  // Every device has as many blocks, so what a layer may take is what it may take where there is the least room.
  const std::vector<DecoderShard*> all = shards();
  size_t num_parts = 0;
  for (const DecoderShard* shard : all) num_parts += shard->num_layers();
  double of_layer = static_cast<double>(bytes) / static_cast<double>(num_parts);
  if (share > 0) {
    of_layer = INFINITY;
    for (const DecoderShard* shard : all) {
      size_t num_layers = 0;
      for (const DecoderShard* other : all) num_layers += &other->ops() == &shard->ops() ? other->num_layers() : 0;
      const double room = share * static_cast<double>(shard->ops().free_bytes());
      of_layer = std::min(of_layer, room / static_cast<double>(num_layers));
    }
  }
  for (DecoderShard* shard : all) {
    shard->open_cache(static_cast<uint64_t>(of_layer * static_cast<double>(shard->num_layers())));
  }
}

int Decoder::num_kv_blocks() const {
  int least = INT32_MAX;
  for (const DecoderShard* shard : shards()) least = std::min(least, shard->cache().num_blocks);
  return least;
}

uint64_t Decoder::kv_bytes() const {
  uint64_t bytes = 0;
  for (const DecoderShard* shard : shards()) bytes += shard->cache().bytes;
  return bytes;
}

Rows Decoder::forward(const StepBatch& batch, const float* tiles, std::span<const int32_t> wanted,
                      std::span<const int32_t> ids_from) {
  rope_.angles(batch, cos_, sin_);
  const StepLayout step = {
      .positions = batch.positions,
      .query_starts = batch.query_starts,
      .block_tables = batch.block_tables,
      .max_blocks = batch.max_blocks,
      .num_heads = config_.num_heads / static_cast<int>(vocabulary_.size()),
      .cos = cos_.data(),
      .sin = sin_.data(),
      .token_ids = batch.token_ids,
      .embedding_rows = batch.embedding_rows,
      .wanted = wanted,
      .head_dim = config_.head_dim,
      .ids_from = ids_from,
  };
  const size_t num_rows = begin_step(step);
  const size_t num_logits = num_rows > batch.num_tokens() ? num_rows : wanted.size();
  const Rows logits = logits_.rows(ops_, num_logits, config_.vocab_size);
  std::vector<Rows> parts;
  for (const auto& part : vocabulary_) {
    parts.push_back(&part->ops == &ops_ ? logits.columns(0, part->ids.count)
                                        : part->logits.rows(part->ops, num_logits, part->ids.count));
  }
  const auto run = [&] { run_step(step, tiles, num_rows, parts); };
  if (stages_.size() == 1) {
    group_.repeat(run);
  } else {
    run();
  }
  for (size_t i = 1; i < parts.size() && !wanted.empty(); i++) {
    Rows part = parts[i];
    part.rows = wanted.size();
    ops_.receive(part, vocabulary_[i]->ops, logits.columns(vocabulary_[i]->ids.first, part.cols));
  }
  return {logits.data, wanted.size(), logits.cols};
}

size_t Decoder::begin_step(const StepLayout& step) {
  const size_t num_rows = ops_.begin_step(step);
  // The first device alone draws, and so knows what is drawn.
  StepLayout behind = step;
  behind.ids_from = {};
  for (size_t i = 1; i < vocabulary_.size(); i++) vocabulary_[i]->ops.begin_step(behind);
  for (const auto& stage : stages_) {
    if (&stage->ops() != &ops_) stage->ops().begin_step(behind);
  }
  if (!step.ids_from.empty()) group_.share_ids();
  return num_rows;
}

void Decoder::run_step(const StepLayout& step, const float* tiles, size_t num_rows, std::span<const Rows> parts) {
  std::vector<Rows> x;
  for (const auto& part : vocabulary_) x.push_back(part->x.rows(part->ops, num_rows, config_.hidden_size));
  embed(step, tiles, x);
  if (stages_.size() == 1) {
    stages_[0]->run(x, step);
  } else {
    x[0] = run_stages(x[0], step);
  }
  if (parts[0].rows > 0) multiply_head(x, step, parts);
}

void Decoder::embed(const StepLayout& step, const float* tiles, std::span<const Rows> x) {
  for (size_t i = 0; i < x.size(); i++) {
    const Vocabulary& part = *vocabulary_[i];
    // The tiles' embeddings are on the first device: the sum brings them to all.
    part.ops.embed({*part.weights.embedding, static_cast<int32_t>(part.ids.first)}, step, i == 0 ? tiles : nullptr, x[i]);
  }
  group_.all_reduce(x);
}

Rows Decoder::run_stages(const Rows& x, const StepLayout& step) {
  // A padded step is one of few rows, and not all of them are the step's.
  const std::vector<MicroBatch> parts = cut_step(step, x.rows == step.positions.size() ? micro_batch_rows_ : 0);
  const bool is_cut = parts.size() > 1;
  // Where the residual stream is: before the first stage, at each, and behind the last.
  const size_t num_stages = stages_.size();
  const auto ops_of = [&](size_t place) -> Ops& {
    return place >= 1 && place <= num_stages ? stages_[place - 1]->ops() : ops_;
  };
  std::vector<Rows> residual = {x};
  for (size_t place = 1; place <= num_stages + 1; place++) {
    const bool moves = &ops_of(place) != &ops_of(place - 1);
    residual.push_back(!moves ? residual.back() : place <= num_stages ? stages_[place - 1]->room(x.rows, x.cols) : x);
  }
  const auto run = [&](size_t place, const MicroBatch& part) {
    const auto own = [&](const Rows& rows) { return is_cut ? rows.part(part.first(), part.count()) : rows; };
    const StepLayout layout = is_cut ? part.layout() : step;
    const Rows here = own(residual[place]);
    if (is_cut && place <= num_stages) ops_of(place).begin_step(layout);
    if (&ops_of(place) != &ops_of(place - 1)) {
      ops_of(place).receive(own(residual[place - 1]), ops_of(place - 1), here);
    }
    if (place <= num_stages) stages_[place - 1]->run({&here, 1}, layout);
  };
  // The part ahead is handed on before its device is given the next one: else that would have to be done first.
  for (size_t wave = 0; wave < num_stages + parts.size(); wave++) {
    for (size_t i = 0; i < parts.size(); i++) {
      if (wave >= i && wave - i <= num_stages) run(wave - i + 1, parts[i]);
    }
  }
  if (is_cut) {
    StepLayout all = step;
    all.ids_from = {};  // they are embedded
    ops_.begin_step(all);
  }
  return residual.back();
}

void Decoder::multiply_head(std::span<const Rows> x, const StepLayout& step, std::span<const Rows> parts) {
  for (size_t i = 0; i < x.size(); i++) {
    Vocabulary& part = *vocabulary_[i];
    const DecoderWeights& weights = part.weights;
    const Rows last = part.last.rows(part.ops, parts[i].rows, config_.hidden_size);
    part.ops.gather_rows(x[i], step, last);
    const Rows normal = part.normal.activations(part.ops, parts[i].rows, config_.hidden_size);
    part.ops.rms_norm(last, weights.norm.weight.f32(), config_.norm_eps, normal);
    part.ops.linear(normal, weights.head == nullptr ? *weights.embedding : *weights.head, {}, parts[i]);
  }
}

}  // namespace tessera
