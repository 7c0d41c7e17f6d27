#include "tests/tiny_model.h"

#include <vector>

#include "tests/support.h"

namespace tessera::tests {

namespace {

constexpr int kVision = 16;
constexpr int kHidden = 24;
constexpr int kHeads = 6;
constexpr int kKeyHeads = 3;
constexpr int kInner = 48;
constexpr int kVocab = 61;

/** Collects tensors of random values. */
class Writer {
 public:
  explicit Writer(uint64_t seed) : random_(seed) {}

  void tensor(const std::string& name, const std::vector<int>& shape, float offset = 0) {
    size_t count = 1;
    std::string sizes;
    for (int size : shape) {
      count *= size;
      sizes.append(sizes.empty() ? "" : ",").append(std::to_string(size));
    }
    std::vector<float> values = random_.values(count, 0.4f);
    for (float& value : values) value += offset;
    header_ += (header_.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"F32\",\"shape\":[" + sizes +
               "],\"data_offsets\":[" + std::to_string(data_.size()) + "," + std::to_string(data_.size() + 4 * count) +
               "]}";
    data_.append(reinterpret_cast<const char*>(values.data()), 4 * count);
  }
  void linear(const std::string& name, int rows, int cols, bool bias = true) {
    tensor(name + ".weight", {rows, cols});
    if (bias) tensor(name + ".bias", {rows});
  }
  void norm(const std::string& name, int size, bool bias) {
    tensor(name + ".weight", {size}, 1);
    if (bias) tensor(name + ".bias", {size});
  }
  std::string bytes() const { return safetensors_bytes(header_ + "}", data_); }

 private:
  Random random_;
  std::string header_;
  std::string data_;
};

void write_vision(Writer& writer) {
  const std::string tower = "vision_model.";
  writer.tensor(tower + "embeddings.class_embedding", {1, 1, kVision});
  writer.tensor(tower + "embeddings.position_embedding", {1, 5, kVision});
  writer.tensor(tower + "embeddings.patch_embedding.weight", {kVision, 3, 4, 4});
  writer.tensor(tower + "embeddings.patch_embedding.bias", {kVision});
  const std::string layer = tower + "encoder.layers.0.";
  writer.norm(layer + "norm1", kVision, true);
  writer.linear(layer + "attn.qkv", 3 * kVision, kVision);
  writer.linear(layer + "attn.proj", kVision, kVision);
  writer.tensor(layer + "ls1", {kVision}, 1);
  writer.norm(layer + "norm2", kVision, true);
  writer.linear(layer + "mlp.fc1", 2 * kVision, kVision);
  writer.linear(layer + "mlp.fc2", kVision, 2 * kVision);
  writer.tensor(layer + "ls2", {kVision}, 1);
  writer.norm("mlp1.0", 4 * kVision, true);
  writer.linear("mlp1.1", kHidden, 4 * kVision);
  writer.linear("mlp1.3", kHidden, kHidden);
}

void write_decoder(Writer& writer, int num_layers, int head_dim) {
  const int queries = kHeads * head_dim, keys = kKeyHeads * head_dim;
  const std::string decoder = "language_model.model.";
  writer.tensor(decoder + "embed_tokens.weight", {kVocab, kHidden});
  for (int i = 0; i < num_layers; i++) {
    const std::string layer = decoder + "layers." + std::to_string(i) + ".";
    writer.norm(layer + "input_layernorm", kHidden, false);
    writer.linear(layer + "self_attn.q_proj", queries, kHidden);
    writer.linear(layer + "self_attn.k_proj", keys, kHidden);
    writer.linear(layer + "self_attn.v_proj", keys, kHidden);
    writer.linear(layer + "self_attn.o_proj", kHidden, queries, false);
    writer.norm(layer + "post_attention_layernorm", kHidden, false);
    writer.linear(layer + "mlp.gate_proj", kInner, kHidden, false);
    writer.linear(layer + "mlp.up_proj", kInner, kHidden, false);
    writer.linear(layer + "mlp.down_proj", kHidden, kInner, false);
  }
  writer.norm(decoder + "norm", kHidden, false);
  writer.tensor("language_model.lm_head.weight", {kVocab, kHidden});
}

}  // namespace

void write_tiny_model(const Folder& folder, const TinyModel& model) {
  folder.write("config.json",
               R"({"model_type":"internvl_chat","force_image_size":8,"ps_version":"v2","vision_config":{"hidden_size":16,)"
               R"("num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":32,"image_size":8,"patch_size":4,)"
               R"("qkv_bias":true},"llm_config":{"model_type":"qwen2","vocab_size":61,"hidden_size":24,)"
               R"("num_attention_heads":6,"num_key_value_heads":3,"intermediate_size":48,"rope_theta":10000.0,)"
               R"("rope_scaling":{"rope_type":"dynamic","factor":2.0},"num_hidden_layers":)" +
                   std::to_string(model.num_layers) + R"(,"max_position_embeddings":)" +
                   std::to_string(model.trained_length) + R"(,"head_dim":)" + std::to_string(model.head_dim) + "}}");
  Writer writer(model.seed);
  write_vision(writer);
  write_decoder(writer, model.num_layers, model.head_dim);
  folder.write("model.safetensors", writer.bytes());
}

EngineOptions tiny_options(const Folder& folder, int num_threads) {
  EngineOptions options;
  options.model_path = folder.path;
  options.dtype = Dtype::kFp32;
  options.num_threads = num_threads;
  options.num_tile_slots = 2;
  return options;
}

}  // namespace tessera::tests
