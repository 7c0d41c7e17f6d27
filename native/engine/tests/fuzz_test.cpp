/**
 * Owns the proof that no bytes break the readers: damaged JSON, safetensors headers, indices and configurations are read
 * right or refused with an Error. What sanitizers would see is seen when the same tests run under them.
 */
#include <algorithm>

#include "model/config.h"
#include "model/json.h"
#include "model/safetensors.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/fuzz.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

/** Runs `body`; only an Error may come out. Says whether it went through. */
bool survives(const char* what, const std::string& bytes, const std::function<void()>& body) {
  try {
    body();
    return true;
  } catch (const Error& error) {
    if (std::string(error.what()).rfind("Cannot ", 0) != 0) fail(__FILE__, __LINE__, error.what());
  } catch (const std::exception& error) {
    fail(__FILE__, __LINE__, std::string(what) + " threw " + error.what() + " at " + bytes);
  }
  return false;
}

/** Writes a value so that reading it again gives the same. */
std::string written(const Json& value) {
  // Appended, not added: GCC 12 sees overlaps in the latter.
  const auto quoted = [](const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      if (static_cast<unsigned char>(c) < 0x20) {
        constexpr char kHex[] = "0123456789abcdef";
        out += std::string("\\u00") + kHex[c >> 4] + kHex[c & 15];
      } else {
        out += c;
      }
    }
    return out + "\"";
  };
  std::string out;
  switch (value.type()) {
    case Json::Type::kNull: return "null";
    case Json::Type::kBool: return value.boolean() ? "true" : "false";
    case Json::Type::kInteger: return std::to_string(value.integer());
    case Json::Type::kNumber: {
      char text[40];
      std::snprintf(text, sizeof text, "%.17e", value.number());
      return text;
    }
    case Json::Type::kString: return quoted(value.string());
    case Json::Type::kArray:
      for (const Json& item : value.array()) out.append(out.empty() ? "" : ",").append(written(item));
      return std::string("[").append(out).append("]");
    case Json::Type::kObject:
      for (const auto& [name, item] : value.object()) {
        out.append(out.empty() ? "" : ",").append(quoted(name)).append(":").append(written(item));
      }
      return std::string("{").append(out).append("}");
  }
  return out;
}

const std::string kJson =
    R"({"a":[1,-2.5e3,"x\u00e9\ud83d\ude00\n",{"b":null,"c":[true,false,[]]}],"d":{"e":0,"f":18446744073709551615},"g":""})";

TEST(fuzz_json_is_refused_or_read_right) {
  Random random(fuzz_seed());
  size_t num_read = 0;
  for (size_t i = 0; i < fuzz_cases(); i++) {
    const std::string bytes = damaged(kJson, random);
    num_read += survives("JSON", bytes, [&] {
      const std::string text = written(Json::parse(bytes, "it"));
      CHECK_EQUAL(written(Json::parse(text, "it")), text);
    });
  }
  CHECK(num_read > fuzz_cases() / 100);
}

const std::string kHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
    R"("b":{"dtype":"F32","shape":[4],"data_offsets":[12,28]},"c":{"dtype":"F16","shape":[1,1,2],"data_offsets":[28,32]}})";

/** What every accepted file must be, found without the reader's own sums. */
void check_tensors(const MappedFile& file, const std::map<std::string, DiskTensor>& tensors) {
  std::vector<std::pair<uint64_t, uint64_t>> places;
  for (const auto& [name, tensor] : tensors) {
    CHECK(tensor.data >= file.data() && tensor.data + tensor.bytes <= file.data() + file.size());
    const uint64_t begin = tensor.data - file.data();
    places.push_back({begin, begin + tensor.bytes});
    __int128 count = 1;
    for (int64_t size : tensor.shape) count *= size;
    CHECK(count >= 0 && static_cast<__int128>(tensor.bytes) % std::max<__int128>(1, count) == 0);
    // Touches first and last byte, for the address sanitizer and the mapping itself.
    if (tensor.bytes > 0) CHECK((tensor.data[0] ^ tensor.data[tensor.bytes - 1]) < 256);
  }
  std::sort(places.begin(), places.end());
  for (size_t i = 1; i < places.size(); i++) CHECK(places[i].first >= places[i - 1].second);
}

TEST(fuzz_safetensors_are_refused_or_lie_inside_the_file) {
  Random random(fuzz_seed() + 1);
  const Folder folder;
  size_t num_read = 0;
  for (size_t i = 0; i < fuzz_cases(); i++) {
    // Half of them keep a length that fits, so that damage reaches beyond the first check.
    std::string bytes = i % 2 == 0 ? safetensors_bytes(damaged(kHeader, random), std::string(32, 'x'))
                                   : damaged(safetensors_bytes(kHeader, std::string(32, 'x')), random);
    num_read += survives("safetensors", bytes, [&] {
      const MappedFile file(folder.write("model.safetensors", bytes));
      check_tensors(file, read_safetensors(file));
      const Checkpoint checkpoint(folder.path);
      for (const char* name : {"a", "b", "c"}) {
        survives("require", bytes, [&] { checkpoint.require(name, {2, 3}); });
      }
      checkpoint.refuse_unused([](const std::string&) { return false; });
    });
  }
  CHECK(fuzz_cases() < 1000 || num_read < fuzz_cases());
}

TEST(fuzz_an_index_is_refused_or_followed) {
  Random random(fuzz_seed() + 2);
  const Folder folder;
  const auto one = [](const char* name) {
    return safetensors_bytes(std::string("{\"") + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234");
  };
  folder.write("one", one("a"));
  folder.write("two", one("b"));
  const std::string index = R"({"metadata":{"total_size":8},"weight_map":{"a":"one","b":"two"}})";
  for (size_t i = 0; i < fuzz_cases() / 4; i++) {
    const std::string bytes = damaged(index, random);
    folder.write("model.safetensors.index.json", bytes);
    survives("index", bytes, [&] { Checkpoint(folder.path).require("a", {1}); });
  }
}

const std::string kConfig =
    R"({"model_type":"internvl_chat","force_image_size":448,"downsample_ratio":0.5,"ps_version":"v2","select_layer":-1,)"
    R"("vision_config":{"hidden_size":1024,"num_hidden_layers":24,"num_attention_heads":16,"intermediate_size":4096,)"
    R"("image_size":448,"patch_size":14,"layer_norm_eps":1e-06},"llm_config":{"model_type":"internlm3","vocab_size":100,)"
    R"("hidden_size":896,"num_hidden_layers":24,"num_attention_heads":14,"num_key_value_heads":2,"head_dim":64,)"
    R"("intermediate_size":4864,"max_position_embeddings":32768,"rms_norm_eps":1e-06,"rope_theta":1000000.0,)"
    R"("rope_scaling":{"factor":2.0,"rope_type":"dynamic"}}})";

TEST(fuzz_a_configuration_is_refused_or_within_bounds) {
  Random random(fuzz_seed() + 3);
  size_t num_read = 0;
  for (size_t i = 0; i < fuzz_cases(); i++) {
    const std::string bytes = damaged(kConfig, random);
    num_read += survives("config", bytes, [&] {
      const ModelConfig config = parse_config(bytes, "config.json");
      CHECK(config.decoder.num_heads % config.decoder.num_kv_heads == 0);
      CHECK(config.decoder.head_dim >= 2 && config.decoder.head_dim % 2 == 0);
      CHECK(config.decoder.context_length >= config.decoder.trained_length);
      CHECK(config.vision.hidden_size % config.vision.num_heads == 0);
      CHECK(config.vision.num_layers >= 0 && config.vision.num_layers <= config.vision.stored_layers);
      CHECK(config.tile_size % config.vision.patch_size == 0 && config.grid() % config.shuffle_factor == 0);
      CHECK(config.tokens_per_tile() >= 1);
    });
  }
  CHECK(num_read > fuzz_cases() / 100);
}

}  // namespace
