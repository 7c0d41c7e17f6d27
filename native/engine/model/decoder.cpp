#include "model/decoder.h"

#include <vector>

namespace tessera {

Decoder::Decoder(const DecoderConfig& config, const DecoderWeights& weights, Ops& ops, uint64_t kv_cache_bytes)
    : config_(config), weights_(weights), ops_(ops), rope_(config) {
  const int min_blocks = (config.trained_length + kKvBlockSize - 1) / kKvBlockSize;
  cache_ = ops.make_kv_cache({config.num_layers, config.num_kv_heads, config.head_dim}, kv_cache_bytes, min_blocks);
}

void Decoder::rotations(const StepBatch& batch) {
  std::vector<float> cos, sin;
  rope_.angles(batch, cos, sin);
  cos_ = ops_.upload(cos.data(), cos.size() * 4);
  sin_ = ops_.upload(sin.data(), sin.size() * 4);
}

Rows Decoder::forward(const StepBatch& batch, const float* tiles, std::span<const int32_t> wanted) {
  rotations(batch);
  const StepLayout step = {
      .positions = batch.positions,
      .query_starts = batch.query_starts,
      .block_tables = batch.block_tables,
      .max_blocks = batch.max_blocks,
      .num_heads = config_.num_heads,
      .cos = cos_.f32(),
      .sin = sin_.f32(),
  };
  const Rows x = x_.rows(ops_, batch.num_tokens(), config_.hidden_size);
  ops_.embed(*weights_.embedding, batch.token_ids, batch.embedding_rows, tiles, x);
  for (int i = 0; i < config_.num_layers; i++) run_layer(i, x, step);
  const Rows last = last_.rows(ops_, wanted.size(), config_.hidden_size);
  ops_.gather_rows(x, wanted, last);
  ops_.rms_norm(last, weights_.norm.weight.f32(), config_.norm_eps, last);
  const Rows logits = logits_.rows(ops_, wanted.size(), config_.vocab_size);
  ops_.linear(last, weights_.head == nullptr ? *weights_.embedding : *weights_.head, {}, logits);
  return logits;
}

void Decoder::run_layer(int index, const Rows& x, const StepLayout& step) {
  const DecoderLayer& layer = weights_.layers[index];
  Rows normal = normal_.rows(ops_, x.rows, x.cols).for_reader(*layer.qkv.weight);
  ops_.rms_norm(x, layer.norm1.weight.f32(), config_.norm_eps, normal);
  const size_t qkv_cols = static_cast<size_t>(config_.num_heads + 2 * config_.num_kv_heads) * config_.head_dim;
  const Rows qkv = qkv_.rows(ops_, x.rows, qkv_cols);
  ops_.linear(normal, *layer.qkv.weight, {.bias = layer.qkv.bias.f32()}, qkv);
  ops_.rotate_and_store(qkv, step, *cache_, index);
  const Rows attended = attended_.rows(ops_, x.rows, static_cast<size_t>(config_.num_heads) * config_.head_dim);
  ops_.paged_attention(qkv, step, *cache_, index, attended);
  ops_.linear(attended, *layer.out.weight,
              {.bias = layer.out.bias.f32(), .residual = x.data, .residual_stride = x.stride}, x);
  normal = normal.for_reader(*layer.gate_up.weight);
  ops_.rms_norm(x, layer.norm2.weight.f32(), config_.norm_eps, normal);
  const Rows wide = wide_.rows(ops_, x.rows, config_.intermediate_size).for_reader(*layer.down.weight);
  ops_.linear_swiglu(normal, *layer.gate_up.weight, layer.gate_up.bias.f32(), wide);
  ops_.linear(wide, *layer.down.weight,
              {.bias = layer.down.bias.f32(), .residual = x.data, .residual_stride = x.stride}, x);
}

}  // namespace tessera
