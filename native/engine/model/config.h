/** Owns what the engine takes from a checkpoint's config.json, in either of the two published forms. */
#pragma once

#include <optional>
#include <string>

namespace tessera {

struct VisionConfig {
  int hidden_size = 0;
  int num_layers = 0;       // those that run: `select_layer` may leave the last ones out
  int stored_layers = 0;    // those the checkpoint has
  int num_heads = 0;
  int intermediate_size = 0;
  int trained_grid = 0;     // patches a side the position embedding was made for
  int patch_size = 0;       // pixels
  bool rms_norm = false;    // else layer norm
  bool qkv_bias = false;
  bool qk_norm = false;     // RMS norm over all heads of q and of k
  float norm_eps = 0;
};

struct DecoderConfig {
  int vocab_size = 0;
  int hidden_size = 0;
  int num_layers = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;         // need not be hidden_size / num_heads
  int intermediate_size = 0;
  bool qkv_bias = false;
  bool out_bias = false;    // of attention's output projection
  bool mlp_bias = false;
  int trained_length = 0;   // max_position_embeddings, tokens
  int context_length = 0;   // the same, times rope_factor: what dynamic scaling is made to reach
  float norm_eps = 0;
  double rope_theta = 0;
  double rope_factor = 1;   // of dynamic NTK scaling beyond trained_length; 1 is none
  int awq_group = 0;        // columns that share a scale where the layers are AWQ on disk, else 0
  std::optional<bool> tied_head;  // unset: tied where the checkpoint has no head
};

/** Names of tensors: as the vendor publishes them, or as transformers saves its own model. */
enum class Layout { kOriginal, kTransformers };

struct ModelConfig {
  Layout layout = Layout::kOriginal;
  VisionConfig vision;
  DecoderConfig decoder;
  int tile_size = 0;        // pixels
  int shuffle_factor = 0;   // 1 / downsample_ratio
  bool shuffle_transposed = false;  // ps_version v1

  int grid() const { return tile_size / vision.patch_size; }
  int tokens_per_tile() const { return grid() / shuffle_factor * (grid() / shuffle_factor); }
};

/**
 * Reads <folder>/config.json. A setting that would change results and is not implemented is refused by its name; so is
 * a size out of range.
 */
ModelConfig read_config(const std::string& folder);

/** The same from text, `path` being for messages. */
ModelConfig parse_config(const std::string& text, const std::string& path);

}  // namespace tessera
