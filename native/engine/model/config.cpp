#include "model/config.h"

#include <cmath>
#include <initializer_list>

#include "model/json.h"
#include "model/safetensors.h"
#include "tessera/error.h"

namespace tessera {

namespace {

/** One object of config.json, with the messages for what is wrong in it. */
class Section {
 public:
  Section(const Json& object, std::string path, std::string name)
      : object_(object), path_(std::move(path)), name_(std::move(name)) {}

  [[noreturn]] void reject(const std::string& key, const std::string& what, const std::string& expected) const {
    refuse("open " + path_, name_ + key + " is " + what, expected);
  }

  /** The value of the first of `keys` that is there and not null. */
  const Json* find(std::initializer_list<const char*> keys) const {
    for (const char* key : keys) {
      const Json* value = object_.find(key);
      if (value != nullptr && !value->is_null()) return value;
    }
    return nullptr;
  }

  int integer(std::initializer_list<const char*> keys, int least, int most, int fallback = -1) const {
    const Json* value = find(keys);
    if (value == nullptr && fallback >= 0) return fallback;
    return checked(value, *keys.begin(), least, most);
  }

  /** A size that may be written as a number or as two equal ones. */
  int square(const char* key, int most) const {
    const Json* value = find({key});
    if (value == nullptr || !value->is_array()) return checked(value, key, 1, most);
    const auto& sides = value->array();
    if (sides.size() != 2) reject(key, "a list of " + std::to_string(sides.size()), "a number or two");
    const int height = checked(&sides[0], key, 1, most);
    if (checked(&sides[1], key, 1, most) != height) reject(key, "not square", "two equal sizes");
    return height;
  }

  double number(std::initializer_list<const char*> keys, double fallback) const {
    const Json* value = find(keys);
    if (value == nullptr) return fallback;
    if (!value->is_number() || !std::isfinite(value->number())) reject(*keys.begin(), "no number", "one");
    return value->number();
  }

  bool boolean(std::initializer_list<const char*> keys, bool fallback) const {
    const Json* value = find(keys);
    if (value == nullptr) return fallback;
    if (!value->is_bool()) reject(*keys.begin(), "no boolean", "true or false");
    return value->boolean();
  }

  std::string text(std::initializer_list<const char*> keys, const char* fallback) const {
    const Json* value = find(keys);
    if (value == nullptr) return fallback;
    if (!value->is_string()) reject(*keys.begin(), "no string", "one");
    return value->string();
  }

  /** Refuses any text but `supported`. */
  void only(std::initializer_list<const char*> keys, const char* supported) const {
    const std::string value = text(keys, supported);
    if (value != supported) reject(*keys.begin(), "\"" + value + "\"", std::string("\"") + supported + "\"");
  }

  void only(const char* key, bool supported) const {
    if (boolean({key}, supported) != supported) {
      reject(key, supported ? "false" : "true", supported ? "true" : "false (not implemented)");
    }
  }

  Section section(std::initializer_list<const char*> keys) const {
    const Json* value = find(keys);
    if (value == nullptr || !value->is_object()) reject(*keys.begin(), "missing", "an object");
    return {*value, path_, name_ + *keys.begin() + "."};
  }

 private:
  int checked(const Json* value, const char* key, int least, int most) const {
    const std::string range = "an integer in [" + std::to_string(least) + ", " + std::to_string(most) + "]";
    if (value == nullptr) reject(key, "missing", range);
    if (!value->is_integer()) reject(key, "no integer", range);
    if (value->integer() < least || value->integer() > most) reject(key, std::to_string(value->integer()), range);
    return static_cast<int>(value->integer());
  }

  const Json& object_;
  std::string path_;
  std::string name_;
};

// Far above every published model, far below what overflows a size.
constexpr int kMaxSize = 1 << 20;
constexpr int kMaxLayers = 1024;

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
  config.num_heads = section.integer({"num_attention_heads"}, 1, kMaxSize);
  config.intermediate_size = section.integer({"intermediate_size"}, 1, kMaxSize);
  config.patch_size = section.square("patch_size", 4096);
  config.norm_eps = positive_eps(section, "layer_norm_eps");
  config.qkv_bias = section.boolean({"qkv_bias", "attention_bias"}, false);
  config.qk_norm = section.boolean({"qk_normalization", "use_qk_norm"}, false);
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

/**
 * Dynamic NTK scaling leaves the base as it is up to max_position_embeddings, and the engine takes no longer sequence:
 * so `dynamic` is plain rope here, exactly as transformers computes it.
 */
void check_rope(const Section& section, const char* key) {
  const Json* value = section.find({key});
  if (value == nullptr) return;
  const Section rope = section.section({key});
  const std::string type = rope.text({"rope_type", "type"}, "default");
  if (type != "default" && type != "dynamic") {
    rope.reject("rope_type", "\"" + type + "\"", "\"default\" or \"dynamic\"");
  }
  if (rope.number({"partial_rotary_factor"}, 1) != 1) rope.reject("partial_rotary_factor", "not 1", "1");
}

DecoderConfig read_decoder(const Section& section) {
  section.only({"model_type"}, "qwen2");
  DecoderConfig config;
  config.vocab_size = section.integer({"vocab_size"}, 1, 1 << 24);
  config.hidden_size = section.integer({"hidden_size"}, 1, kMaxSize);
  config.num_layers = section.integer({"num_hidden_layers"}, 1, kMaxLayers);
  config.num_heads = section.integer({"num_attention_heads"}, 1, kMaxSize);
  config.num_kv_heads = section.integer({"num_key_value_heads"}, 1, kMaxSize, config.num_heads);
  config.intermediate_size = section.integer({"intermediate_size"}, 1, kMaxSize);
  config.context_length = section.integer({"max_position_embeddings"}, 1, 1 << 24);
  config.norm_eps = positive_eps(section, "rms_norm_eps");
  section.only({"hidden_act"}, "silu");
  section.only("use_sliding_window", false);
  if (config.hidden_size % config.num_heads != 0) {
    section.reject("hidden_size", std::to_string(config.hidden_size), "a multiple of num_attention_heads");
  }
  if (config.num_heads % config.num_kv_heads != 0) {
    section.reject("num_key_value_heads", std::to_string(config.num_kv_heads), "a divisor of num_attention_heads");
  }
  config.head_dim = config.hidden_size / config.num_heads;
  if (section.integer({"head_dim"}, 1, kMaxSize, config.head_dim) != config.head_dim) {
    section.reject("head_dim", "not hidden_size / num_attention_heads", std::to_string(config.head_dim));
  }
  if (config.head_dim % 2 != 0) section.reject("head_dim", std::to_string(config.head_dim), "an even number");
  // transformers 5 writes rope_parameters with the base inside, 4 wrote rope_theta and rope_scaling.
  check_rope(section, "rope_scaling");
  check_rope(section, "rope_parameters");
  config.rope_theta = section.number({"rope_theta"}, 10'000);
  if (section.find({"rope_parameters"}) != nullptr) {
    config.rope_theta = section.section({"rope_parameters"}).number({"rope_theta"}, config.rope_theta);
  }
  if (!(config.rope_theta > 0)) section.reject("rope_theta", std::to_string(config.rope_theta), "above 0");
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
  if (config.tile_size % (patch * config.shuffle_factor) != 0) {
    root.reject(config.layout == Layout::kOriginal ? "force_image_size" : "vision_config.image_size",
                std::to_string(config.tile_size), "a multiple of patch_size x 1/downsample_ratio");
  }
}

ModelConfig read_original(const Section& root) {
  ModelConfig config;
  config.layout = Layout::kOriginal;
  const Section vision = root.section({"vision_config"});
  config.vision = read_vision(vision);
  config.decoder = read_decoder(root.section({"llm_config"}));
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
  const Section vision = root.section({"vision_config"});
  config.vision = read_vision(vision);
  vision.only("use_absolute_position_embeddings", true);
  vision.only("use_mask_token", false);
  vision.only("use_mean_pooling", true);  // without it the tower ends in a norm
  config.decoder = read_decoder(root.section({"text_config"}));
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
