#include "model/vision_tower.h"

#include <algorithm>

namespace tessera {

namespace {
// ImageNet's, as the model's own preprocessing has them.
constexpr float kPixelMean[3] = {0.485f, 0.456f, 0.406f};
constexpr float kPixelStd[3] = {0.229f, 0.224f, 0.225f};
// The projector's norm has PyTorch's default, whatever the tower's is.
constexpr float kProjectorEps = 1e-5f;
}  // namespace

VisionTower::VisionTower(const ModelConfig& config, const TowerWeights& weights, Ops& ops)
    : config_(config), weights_(weights), ops_(ops) {}

void VisionTower::reserve(size_t num_tiles) {
  const VisionConfig& vision = config_.vision;
  const size_t num_patches = static_cast<size_t>(config_.grid()) * config_.grid();
  const size_t rows = num_tiles * (num_patches + 1);
  const size_t embeddings = num_tiles * config_.tokens_per_tile();
  const size_t hidden = vision.hidden_size;
  const size_t factor = config_.shuffle_factor;
  const size_t patch_values = 3 * static_cast<size_t>(vision.patch_size) * vision.patch_size;
  x_.rows(ops_, rows, hidden);
  wide_.activations(ops_, num_tiles * num_patches, patch_values);
  wide_.activations(ops_, rows, std::max<size_t>(3 * hidden, vision.intermediate_size));
  wide_.activations(ops_, embeddings, hidden * factor * factor);
  normal_.activations(ops_, rows, hidden);
  normal_.activations(ops_, embeddings, config_.decoder.hidden_size);
  attended_.activations(ops_, rows, hidden);
  attended_.rows(ops_, embeddings, config_.decoder.hidden_size);
}

Rows VisionTower::encode(std::span<const uint8_t> pixels) {
  const VisionConfig& vision = config_.vision;
  const size_t num_patches = static_cast<size_t>(config_.grid()) * config_.grid();
  const size_t num_tiles = pixels.size() / (static_cast<size_t>(config_.tile_size) * config_.tile_size * 3);
  const size_t patch_values = 3 * static_cast<size_t>(vision.patch_size) * vision.patch_size;

  const Rows patches = wide_.activations(ops_, num_tiles * num_patches, patch_values);
  ops_.patchify(pixels, config_.tile_size, vision.patch_size, kPixelMean, kPixelStd, patches);
  const Rows embedded = normal_.activations(ops_, num_tiles * num_patches, vision.hidden_size);
  const Linear& patch = weights_.vision.patch;
  ops_.linear(patches, *patch.weight, {.bias = patch.bias.f32()}, embedded);
  const Rows x = x_.rows(ops_, num_tiles * (num_patches + 1), vision.hidden_size);
  ops_.add_positions(embedded, weights_.vision.class_embedding.f32(), weights_.vision.positions.f32(), num_patches, x);
  for (const VisionLayer& layer : weights_.vision.layers) run_layer(layer, x);
  return project(x);
}

void VisionTower::norm(const Norm& weights, const Rows& x, const Rows& y) {
  if (config_.vision.rms_norm) {
    ops_.rms_norm(x, weights.weight.f32(), config_.vision.norm_eps, y);
  } else {
    ops_.layer_norm(x, weights.weight.f32(), weights.bias.f32(), config_.vision.norm_eps, y);
  }
}

void VisionTower::run_layer(const VisionLayer& layer, const Rows& x) {
  const VisionConfig& vision = config_.vision;
  const size_t hidden = vision.hidden_size;
  Rows normal = normal_.activations(ops_, x.rows, hidden).for_reader(*layer.qkv.weight);
  norm(layer.norm1, x, normal);
  const Rows qkv = wide_.activations(ops_, x.rows, 3 * hidden);
  ops_.linear(normal, *layer.qkv.weight, {.bias = layer.qkv.bias.f32()}, qkv);
  if (vision.qk_norm) {
    ops_.rms_norm(qkv.columns(0, hidden), layer.q_norm.weight.f32(), vision.norm_eps, qkv.columns(0, hidden));
    ops_.rms_norm(qkv.columns(hidden, hidden), layer.k_norm.weight.f32(), vision.norm_eps, qkv.columns(hidden, hidden));
  }
  const Rows attended = attended_.activations(ops_, x.rows, hidden);
  const size_t tokens = static_cast<size_t>(config_.grid()) * config_.grid() + 1;
  ops_.tile_attention(qkv, tokens, vision.num_heads, weights_.vision.type, attended);
  ops_.linear(attended, *layer.proj.weight,
              {.bias = layer.proj.bias.f32(), .scale = layer.scale1.f32(), .residual = x.data,
               .residual_stride = x.stride}, x);
  normal = normal.for_reader(*layer.fc1.weight);
  norm(layer.norm2, x, normal);
  const Rows wide = wide_.activations(ops_, x.rows, vision.intermediate_size).for_reader(*layer.fc2.weight);
  ops_.linear(normal, *layer.fc1.weight, {.bias = layer.fc1.bias.f32(), .activation = Activation::kGelu}, wide);
  ops_.linear(wide, *layer.fc2.weight,
              {.bias = layer.fc2.bias.f32(), .scale = layer.scale2.f32(), .residual = x.data,
               .residual_stride = x.stride}, x);
}

Rows VisionTower::project(const Rows& x) {
  const size_t grid = config_.grid();
  const size_t factor = config_.shuffle_factor;
  const size_t num_tiles = x.rows / (grid * grid + 1);
  const size_t rows = num_tiles * config_.tokens_per_tile();
  const ProjectorWeights& projector = weights_.projector;
  const Rows shuffled = wide_.activations(ops_, rows, x.cols * factor * factor);
  ops_.shuffle_norm(x, {grid, factor, config_.shuffle_transposed}, projector.norm.weight.f32(),
                    projector.norm.bias.f32(), kProjectorEps, shuffled);
  const Rows hidden = normal_.activations(ops_, rows, config_.decoder.hidden_size);
  ops_.linear(shuffled, *projector.linear1.weight,
              {.bias = projector.linear1.bias.f32(), .activation = Activation::kGelu}, hidden);
  const Rows out = attended_.rows(ops_, rows, config_.decoder.hidden_size);
  ops_.linear(hidden, *projector.linear2.weight, {.bias = projector.linear2.bias.f32()}, out);
  return out;
}

}  // namespace tessera
