#include "model/decoder_stage.h"

namespace tessera {

DecoderStage::DecoderStage(const DecoderConfig& config, std::span<const DecoderLayer> layers, Ops& ops,
                           uint64_t kv_cache_bytes)
    : config_(config), layers_(layers), ops_(ops) {
  const int min_blocks = (config.trained_length + kKvBlockSize - 1) / kKvBlockSize;
  cache_ = ops.make_kv_cache({static_cast<int>(layers.size()), config.num_kv_heads, config.head_dim}, kv_cache_bytes,
                             min_blocks);
}

Rows DecoderStage::take(const Rows& x, Ops& from) {
  const Rows taken = taken_.rows(ops_, x.rows, x.cols);
  ops_.receive(x, from, taken);
  return taken;
}

void DecoderStage::run(const Rows& x, const StepLayout& step) {
  for (size_t i = 0; i < layers_.size(); i++) run_layer(i, x, step);
}

void DecoderStage::run_layer(size_t index, const Rows& x, const StepLayout& step) {
  const DecoderLayer& layer = layers_[index];
  Rows normal = normal_.activations(ops_, x.rows, x.cols).for_reader(*layer.qkv.weight);
  ops_.rms_norm(x, layer.norm1.weight.f32(), config_.norm_eps, normal);
  const size_t qkv_cols = static_cast<size_t>(config_.num_heads + 2 * config_.num_kv_heads) * config_.head_dim;
  const Rows qkv = qkv_.activations(ops_, x.rows, qkv_cols);
  ops_.linear(normal, *layer.qkv.weight, {.bias = layer.qkv.bias.f32()}, qkv);
  ops_.rotate_and_store(qkv, step, *cache_, static_cast<int>(index));
  const Rows attended = attended_.activations(ops_, x.rows, static_cast<size_t>(config_.num_heads) * config_.head_dim);
  ops_.paged_attention(qkv, step, *cache_, static_cast<int>(index), attended);
  ops_.linear(attended, *layer.out.weight,
              {.bias = layer.out.bias.f32(), .residual = x.data, .residual_stride = x.stride}, x);
  normal = normal.for_reader(*layer.gate_up.weight);
  ops_.rms_norm(x, layer.norm2.weight.f32(), config_.norm_eps, normal);
  const Rows wide = wide_.activations(ops_, x.rows, config_.intermediate_size).for_reader(*layer.down.weight);
  ops_.linear_swiglu(normal, *layer.gate_up.weight, layer.gate_up.bias.f32(), wide);
  ops_.linear(wide, *layer.down.weight,
              {.bias = layer.down.bias.f32(), .residual = x.data, .residual_stride = x.stride}, x);
}

}  // namespace tessera
