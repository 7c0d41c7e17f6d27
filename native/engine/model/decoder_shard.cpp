#include "model/decoder_shard.h"

namespace tessera {

DecoderShard::DecoderShard(const DecoderConfig& share, Shard shard, std::span<const DecoderLayer> layers, Ops& ops)
    : share_(share), shard_(shard), layers_(layers), ops_(ops) {}

void DecoderShard::open_cache(uint64_t bytes) {
  const int min_blocks = (share_.trained_length + kKvBlockSize - 1) / kKvBlockSize;
  cache_ = ops_.make_kv_cache({static_cast<int>(layers_.size()), share_.num_kv_heads, share_.head_dim}, bytes, min_blocks);
}

void DecoderShard::reserve(size_t rows, bool takes) {
  if (takes) taken_.rows(ops_, rows, share_.hidden_size);
  normal_.activations(ops_, rows, share_.hidden_size);
  qkv_.activations(ops_, rows, static_cast<size_t>(share_.num_heads + 2 * share_.num_kv_heads) * share_.head_dim);
  attended_.activations(ops_, rows, static_cast<size_t>(share_.num_heads) * share_.head_dim);
  wide_.activations(ops_, rows, share_.intermediate_size);
}

void DecoderShard::attend(size_t index, const Rows& x, const StepLayout& step) {
  const DecoderLayer& layer = layers_[index];
  const Rows normal = normal_.activations(ops_, x.rows, x.cols).for_reader(*layer.qkv.weight);
  ops_.rms_norm(x, layer.norm1.weight.f32(), share_.norm_eps, normal);
  const size_t qkv_cols = static_cast<size_t>(share_.num_heads + 2 * share_.num_kv_heads) * share_.head_dim;
  const Rows qkv = qkv_.activations(ops_, x.rows, qkv_cols);
  ops_.linear(normal, *layer.qkv.weight, {.bias = layer.qkv.bias.f32()}, qkv);
  ops_.rotate_and_store(qkv, step, *cache_, static_cast<int>(index));
  const Rows attended = attended_.activations(ops_, x.rows, static_cast<size_t>(share_.num_heads) * share_.head_dim);
  ops_.paged_attention(qkv, step, *cache_, static_cast<int>(index), attended);
  add_product(attended, layer.out, x);
}

void DecoderShard::feed_forward(size_t index, const Rows& x) {
  const DecoderLayer& layer = layers_[index];
  const Rows normal = normal_.activations(ops_, x.rows, x.cols).for_reader(*layer.gate_up.weight);
  ops_.rms_norm(x, layer.norm2.weight.f32(), share_.norm_eps, normal);
  const Rows wide = wide_.activations(ops_, x.rows, share_.intermediate_size).for_reader(*layer.down.weight);
  ops_.linear_swiglu(normal, *layer.gate_up.weight, layer.gate_up.bias.f32(), wide);
  add_product(wide, layer.down, x);
}

void DecoderShard::add_product(const Rows& from, const Linear& linear, const Rows& x) {
  Epilogue epilogue = {.bias = linear.bias.f32()};
  if (shard_.is_first()) epilogue.residual = x.data, epilogue.residual_stride = x.stride;
  ops_.linear(from, *linear.weight, epilogue, x);
}

}  // namespace tessera
