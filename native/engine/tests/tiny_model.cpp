#include "tests/tiny_model.h"

#include <vector>

#include "tests/support.h"

namespace tessera::tests {

namespace {

/** Widths of the layers. */
struct Widths {
  int vision = 16;
  int hidden = 24;
  int inner = 48;
  int heads = 6;
  int key_heads = 3;
  float deviation = 0.4f;  // of weights: sums of more are to be as large
};

Widths widths_of(const TinyModel& model) { return model.in_blocks ? Widths{64, 64, 64, 2, 1, 0.24f} : Widths{}; }

/** Collects tensors of random values. */
class Writer {
 public:
  Writer(uint64_t seed, float deviation) : random_(seed), deviation_(deviation) {}

  void tensor(const std::string& name, const std::vector<int>& shape, float offset = 0) {
    size_t count = 1;
    std::string sizes;
    for (int size : shape) {
      count *= size;
      sizes.append(sizes.empty() ? "" : ",").append(std::to_string(size));
    }
    std::vector<float> values = random_.values(count, deviation_);
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
  float deviation_;
  std::string header_;
  std::string data_;
};

void write_vision(Writer& writer, const Widths& widths) {
  const int vision = widths.vision;
  const std::string tower = "vision_model.";
  writer.tensor(tower + "embeddings.class_embedding", {1, 1, vision});
  writer.tensor(tower + "embeddings.position_embedding", {1, 5, vision});
  writer.tensor(tower + "embeddings.patch_embedding.weight", {vision, 3, 4, 4});
  writer.tensor(tower + "embeddings.patch_embedding.bias", {vision});
  const std::string layer = tower + "encoder.layers.0.";
  writer.norm(layer + "norm1", vision, true);
  writer.linear(layer + "attn.qkv", 3 * vision, vision);
  writer.linear(layer + "attn.proj", vision, vision);
  writer.tensor(layer + "ls1", {vision}, 1);
  writer.norm(layer + "norm2", vision, true);
  writer.linear(layer + "mlp.fc1", 2 * vision, vision);
  writer.linear(layer + "mlp.fc2", vision, 2 * vision);
  writer.tensor(layer + "ls2", {vision}, 1);
  writer.norm("mlp1.0", 4 * vision, true);
  writer.linear("mlp1.1", widths.hidden, 4 * vision);
  writer.linear("mlp1.3", widths.hidden, widths.hidden);
}

void write_decoder(Writer& writer, const Widths& widths, const TinyModel& model) {
  const int hidden = widths.hidden, inner = widths.inner;
  const int queries = widths.heads * model.head_dim, keys = widths.key_heads * model.head_dim;
  const std::string decoder = "language_model.model.";
  writer.tensor(decoder + "embed_tokens.weight", {model.vocab, hidden});
  for (int i = 0; i < model.num_layers; i++) {
    const std::string layer = decoder + "layers." + std::to_string(i) + ".";
    writer.norm(layer + "input_layernorm", hidden, false);
    writer.linear(layer + "self_attn.q_proj", queries, hidden);
    writer.linear(layer + "self_attn.k_proj", keys, hidden);
    writer.linear(layer + "self_attn.v_proj", keys, hidden);
    writer.linear(layer + "self_attn.o_proj", hidden, queries, false);
    writer.norm(layer + "post_attention_layernorm", hidden, false);
    writer.linear(layer + "mlp.gate_proj", inner, hidden, false);
    writer.linear(layer + "mlp.up_proj", inner, hidden, false);
    writer.linear(layer + "mlp.down_proj", hidden, inner, false);
  }
  writer.norm(decoder + "norm", hidden, false);
  writer.tensor("language_model.lm_head.weight", {model.vocab, hidden});
}

}  // namespace

void write_tiny_model(const Folder& folder, const TinyModel& model) {
  const Widths widths = widths_of(model);
  folder.write("config.json",
               R"({"model_type":"internvl_chat","force_image_size":8,"ps_version":"v2","vision_config":{"hidden_size":)" +
                   std::to_string(widths.vision) + R"(,"intermediate_size":)" + std::to_string(2 * widths.vision) +
                   R"(,"num_hidden_layers":1,"num_attention_heads":2,"image_size":8,"patch_size":4,"qkv_bias":true},)"
                   R"("llm_config":{"model_type":"qwen2","vocab_size":)" + std::to_string(model.vocab) +
                   R"(,"hidden_size":)" + std::to_string(widths.hidden) + R"(,"intermediate_size":)" + std::to_string(widths.inner) +
                   R"(,"num_attention_heads":)" + std::to_string(widths.heads) + R"(,"num_key_value_heads":)" +
                   std::to_string(widths.key_heads) + R"(,"rope_theta":10000.0,)"
                   R"("rope_scaling":{"rope_type":"dynamic","factor":2.0},"num_hidden_layers":)" +
                   std::to_string(model.num_layers) + R"(,"max_position_embeddings":)" +
                   std::to_string(model.trained_length) + R"(,"head_dim":)" + std::to_string(model.head_dim) + "}}");
  Writer writer(model.seed, widths.deviation);
  write_vision(writer, widths);
  write_decoder(writer, widths, model);
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
