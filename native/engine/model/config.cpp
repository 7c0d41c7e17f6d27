#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "model/config_section.h"
#include "model/neutral_settings.h"
#include "model/quantised_config.h"
#include "model/safetensors.h"

namespace tessera {

namespace {

// Far above every published model, far below what overflows a size.
constexpr int kMaxSize = 1 << 20;
constexpr int kMaxLayers = 1024;
// Patches a side of a tile; published models have 32. Beyond it the attention of one tile alone takes minutes.
constexpr int kMaxGrid = 256;

float positive_eps(const Section& section, const char* key) {
  const double eps = section.number({key}, 1e-6);
  if (!(eps > 0 && eps < 1)) section.reject(key, std::to_string(eps), "in (0, 1)");
  return static_cast<float>(eps);
}

/** Layers that run for hidden state `layer`: -1 is after the last, 0 before the first. */
int selected_layers(const Section& root, const char* key, int num_layers) {
  const int layer = root.integer({key}, -num_layers - 1, num_layers, num_layers);
  return layer < 0 ? num_layers + 1 + layer : layer;
}

VisionConfig read_vision(const Section& section) {
  VisionConfig config;
  config.hidden_size = section.integer({"hidden_size"}, 1, kMaxSize);
  config.num_layers = section.integer({"num_hidden_layers"}, 0, kMaxLayers);
  config.stored_layers = config.num_layers;
  config.num_heads = section.integer({"num_attention_heads"}, 1, kMaxSize);
  config.intermediate_size = section.integer({"intermediate_size"}, 1, kMaxSize);
  config.patch_size = section.square("patch_size", 4096);
  config.norm_eps = positive_eps(section, "layer_norm_eps");
  config.qkv_bias = section.boolean({"qkv_bias", "attention_bias"}, false);
  config.qk_norm = section.boolean({"qk_normalization", "use_qk_norm"}, false);
  check_neutral(section, kVisionSettings);
  const std::string norm = section.text({"norm_type"}, "layer_norm");
  if (norm != "layer_norm" && norm != "rms_norm") {
    section.reject("norm_type", "\"" + norm + "\"", "\"layer_norm\" or \"rms_norm\"");
  }
  config.rms_norm = norm == "rms_norm";
  section.only({"hidden_act"}, "gelu");
  if (section.integer({"num_channels"}, 1, kMaxSize, 3) != 3) section.reject("num_channels", "not 3", "3");
  const int image_size = section.square("image_size", 1 << 16);
  if (image_size % config.patch_size != 0) {
    section.reject("image_size", std::to_string(image_size), "a multiple of patch_size");
  }
  config.trained_grid = image_size / config.patch_size;
  if (config.hidden_size % config.num_heads != 0) {
    section.reject("hidden_size", std::to_string(config.hidden_size), "a multiple of num_attention_heads");
  }
  return config;
}

/** Reads base and scaling. Within max_position_embeddings `dynamic` is plain rope; beyond, see model/rope.h. */
void read_rope(const Section& section, const char* key, DecoderConfig& config) {
  if (section.find({key}) == nullptr) return;
  const Section rope = section.section({key});
  // Anything else in it (mrope_section, alpha, short_factor ...) belongs to a type that is not implemented.
  rope.only_keys({"rope_type", "type", "rope_theta", "factor", "partial_rotary_factor",
                  "original_max_position_embeddings"});
  const std::string type = rope.text({"rope_type", "type"}, "default");
  if (type != "default" && type != "dynamic") {
    rope.reject("rope_type", "\"" + type + "\"", "\"default\" or \"dynamic\"");
  }
  // Which of the two counts has changed from one version of transformers to the next.
  rope.only({"type"}, type.c_str());
  if (rope.number({"partial_rotary_factor"}, 1) != 1) rope.reject("partial_rotary_factor", "not 1", "1");
  config.rope_theta = rope.number({"rope_theta"}, config.rope_theta);
  if (type != "dynamic") return;
  config.rope_factor = rope.number({"factor"}, 0);
  if (!(config.rope_factor >= 1 && config.rope_factor <= 1024)) {
    rope.reject("factor", std::to_string(config.rope_factor), "in [1, 1024]");
  }
}

/** Qwen2 has its biases fixed; InternLM3 names them, and transformers names InternLM3's otherwise. */
void read_biases(const Section& section, bool is_qwen2, DecoderConfig& config) {
  if (is_qwen2) {
    for (const char* key : {"qkv_bias", "attention_bias"}) section.only(key, true);
    for (const char* key : {"bias", "mlp_bias"}) section.only(key, false);
    config.qkv_bias = true;
    return;
  }
  config.qkv_bias = section.boolean({"qkv_bias", "attention_bias"}, false);
  config.out_bias = section.boolean({"bias", "attention_bias"}, false);
  config.mlp_bias = section.boolean({"bias", "mlp_bias"}, false);
}

void read_head_sizes(const Section& section, DecoderConfig& config) {
  if (config.num_heads % config.num_kv_heads != 0) {
    section.reject("num_key_value_heads", std::to_string(config.num_kv_heads), "a divisor of num_attention_heads");
  }
  if (section.find({"head_dim"}) == nullptr && config.hidden_size % config.num_heads != 0) {
    section.reject("hidden_size", std::to_string(config.hidden_size), "a multiple of num_attention_heads");
  }
  config.head_dim = section.integer({"head_dim"}, 1, kMaxSize, std::max(1, config.hidden_size / config.num_heads));
  if (config.head_dim % 2 != 0) section.reject("head_dim", std::to_string(config.head_dim), "an even number");
  // Rows of q, k and v side by side stay within 31 bits.
  if (static_cast<int64_t>(config.head_dim) * config.num_heads > kMaxSize) {
    section.reject("head_dim", std::to_string(config.head_dim),
                   "at most " + std::to_string(kMaxSize) + " / num_attention_heads");
  }
}

DecoderConfig read_decoder(const Section& section) {
  const std::string type = section.text({"model_type"}, "qwen2");
  if (type != "qwen2" && type != "internlm3") {
    section.reject("model_type", "\"" + type + "\"", "\"qwen2\" or \"internlm3\"");
  }
  const bool is_qwen2 = type == "qwen2";
  section.architecture(is_qwen2 ? "Qwen2" : "InternLM3");
  check_neutral(section, kDecoderSettings);
  DecoderConfig config;
  config.vocab_size = section.integer({"vocab_size"}, 1, 1 << 24);
  config.hidden_size = section.integer({"hidden_size"}, 1, kMaxSize);
  config.num_layers = section.integer({"num_hidden_layers"}, 1, kMaxLayers);
  config.num_heads = section.integer({"num_attention_heads"}, 1, kMaxSize);
  config.num_kv_heads = section.integer({"num_key_value_heads"}, 1, kMaxSize, config.num_heads);
  config.intermediate_size = section.integer({"intermediate_size"}, 1, kMaxSize);
  config.trained_length = section.integer({"max_position_embeddings"}, 1, 1 << 24);
  config.norm_eps = positive_eps(section, "rms_norm_eps");
  section.only({"hidden_act"}, "silu");
  read_head_sizes(section, config);
  read_biases(section, is_qwen2, config);
  // transformers 5 writes rope_parameters with the base inside, 4 wrote rope_theta and rope_scaling.
  config.rope_theta = section.number({"rope_theta"}, 10'000);
  if (section.find({"rope_scaling"}) != nullptr && section.find({"rope_parameters"}) != nullptr) {
    section.reject("rope_scaling", "set beside rope_parameters", "one of the two");
  }
  read_rope(section, "rope_scaling", config);
  read_rope(section, "rope_parameters", config);
  if (!(config.rope_theta > 1)) section.reject("rope_theta", std::to_string(config.rope_theta), "above 1");
  if (config.rope_factor > 1 && config.head_dim < 4) {
    section.reject("head_dim", std::to_string(config.head_dim), "at least 4 with dynamic rope scaling");
  }
  config.context_length = static_cast<int>(std::min(config.trained_length * config.rope_factor, 0x1p24));
  return config;
}

std::optional<bool> tied_head(const Section& first, const Section& second) {
  for (const Section* section : {&first, &second}) {
    if (section->find({"tie_word_embeddings"}) != nullptr) return section->boolean({"tie_word_embeddings"}, false);
  }
  return std::nullopt;
}

void read_shuffle(const Section& root, ModelConfig& config) {
  const double ratio = root.number({"downsample_ratio"}, 0.5);
  const double factor = ratio > 0 ? std::round(1 / ratio) : 0;
  if (factor < 1 || factor > 64 || std::fabs(factor * ratio - 1) > 1e-6) {
    root.reject("downsample_ratio", std::to_string(ratio), "one over a whole number");
  }
  config.shuffle_factor = static_cast<int>(factor);
}

void check_tiles(const Section& root, const ModelConfig& config) {
  const int patch = config.vision.patch_size;
  const char* key = config.layout == Layout::kOriginal ? "force_image_size" : "vision_config.image_size";
  if (config.tile_size % (patch * config.shuffle_factor) != 0) {
    root.reject(key, std::to_string(config.tile_size), "a multiple of patch_size x 1/downsample_ratio");
  }
  if (config.grid() > kMaxGrid) {
    root.reject(key, std::to_string(config.tile_size), "at most " + std::to_string(kMaxGrid) + " patches a side");
  }
}

ModelConfig read_original(const Section& root) {
  ModelConfig config;
  config.layout = Layout::kOriginal;
  check_neutral(root, kModelSettings);
  const Section vision = root.section({"vision_config"});
  config.vision = read_vision(vision);
  config.decoder = read_decoder(root.section({"llm_config"}));
  config.decoder.awq_group = read_awq_group(root, root.section({"llm_config"}));
  config.vision.num_layers = selected_layers(root, "select_layer", config.vision.num_layers);
  const int image_size = config.vision.trained_grid * config.vision.patch_size;
  config.tile_size = root.integer({"force_image_size"}, 1, 1 << 16, image_size);
  read_shuffle(root, config);
  const std::string version = root.text({"ps_version"}, "v1");
  if (version != "v1" && version != "v2") root.reject("ps_version", "\"" + version + "\"", "\"v1\" or \"v2\"");
  config.shuffle_transposed = version == "v1";
  // The decoder's own setting is what its tensors follow; the outer one is a copy.
  config.decoder.tied_head = tied_head(root.section({"llm_config"}), root);
  check_tiles(root, config);
  return config;
}

ModelConfig read_transformers(const Section& root) {
  ModelConfig config;
  config.layout = Layout::kTransformers;
  check_neutral(root, kModelSettings);
  const Section vision = root.section({"vision_config"});
  config.vision = read_vision(vision);
  vision.only("use_absolute_position_embeddings", true);
  vision.only("use_mean_pooling", true);  // without it the tower ends in a norm
  config.decoder = read_decoder(root.section({"text_config"}));
  config.decoder.awq_group = read_awq_group(root, root.section({"text_config"}));
  const Json* layers = root.find({"vision_feature_layer"});
  if (layers != nullptr && layers->is_array()) root.reject("vision_feature_layer", "a list", "one number");
  config.vision.num_layers = selected_layers(root, "vision_feature_layer", config.vision.num_layers);
  root.only({"vision_feature_select_strategy"}, "default");
  root.only({"projector_hidden_act"}, "gelu");
  config.tile_size = config.vision.trained_grid * config.vision.patch_size;
  read_shuffle(root, config);
  config.decoder.tied_head = tied_head(root, root.section({"text_config"}));
  check_tiles(root, config);
  return config;
}

}  // namespace

ModelConfig parse_config(const std::string& text, const std::string& path) {
  const Json json = Json::parse(text, path);
  const Section root(json, path, "");
  if (!json.is_object()) refuse("open " + path, "it holds no object", "a model's configuration");
  const std::string type = root.text({"model_type"}, "");
  if (type == "internvl_chat") return read_original(root);
  if (type == "internvl") return read_transformers(root);
  root.reject("model_type", "\"" + type + "\"", "\"internvl_chat\" or \"internvl\"");
}

ModelConfig read_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  return parse_config(read_text_file(path), path);
}

}  // namespace tessera
