#include "addon/arguments.h"

#include <array>
#include <cmath>
#include <utility>

namespace tessera::addon {

namespace {

constexpr std::array<std::pair<const char*, Device>, 2> kDevices = {{{"cpu", Device::kCpu}, {"cuda", Device::kCuda}}};
constexpr std::array<std::pair<const char*, Dtype>, 7> kDtypes = {{
    {"bf16", Dtype::kBf16}, {"fp16", Dtype::kFp16}, {"fp32", Dtype::kFp32},
    {"int8", Dtype::kInt8}, {"nf4", Dtype::kNf4}, {"fp4", Dtype::kFp4}, {"fp8", Dtype::kFp8},
}};

constexpr std::array<std::pair<const char*, bool>, 2> kHeads = {{{"auto", false}, {"int8", true}}};

// How JavaScript calls each element type, and how N-API does.
template <class T>
struct ElementOf;
template <>
struct ElementOf<uint8_t> {
  static constexpr napi_typedarray_type kType = napi_uint8_array;
  static constexpr const char* kName = "a Uint8Array";
};
template <>
struct ElementOf<int32_t> {
  static constexpr napi_typedarray_type kType = napi_int32_array;
  static constexpr const char* kName = "an Int32Array";
};
template <>
struct ElementOf<float> {
  static constexpr napi_typedarray_type kType = napi_float32_array;
  static constexpr const char* kName = "a Float32Array";
};
template <>
struct ElementOf<uint64_t> {
  static constexpr napi_typedarray_type kType = napi_biguint64_array;
  static constexpr const char* kName = "a BigUint64Array";
};

template <class T>
std::vector<T> copy_array(const char* action, const char* name, const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != ElementOf<T>::kType) {
    refuse(action, std::string(name) + " is of another type", ElementOf<T>::kName);
  }
  const auto array = value.As<Napi::TypedArray>();
  auto buffer = array.ArrayBuffer();
  const size_t count = array.ElementLength();
  if (count == 0) return {};
  const T* data = reinterpret_cast<const T*>(static_cast<char*>(buffer.Data()) + array.ByteOffset());
  return std::vector<T>(data, data + count);
}

template <class T, size_t N>
T read_choice(const Napi::Object& options, const char* name, const std::array<std::pair<const char*, T>, N>& choices) {
  const Napi::Value value = options.Get(name);
  std::string expected;
  for (const auto& [text, choice] : choices) {
    if (value.IsString() && value.As<Napi::String>().Utf8Value() == text) return choice;
    expected += (expected.empty() ? "" : ", ") + std::string(text);
  }
  refuse("open the engine", std::string(name) + " is unknown", "one of " + expected);
}

double read_whole(const char* action, const Napi::Object& object, const char* name, double most) {
  const Napi::Value value = object.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= 0 && number <= most) || number != std::floor(number)) {
    refuse(action, std::string(name) + " is no whole number in range",
           "0 to " + std::to_string(static_cast<uint64_t>(most)));
  }
  return number;
}

const char* name_of(Dtype dtype) {
  for (const auto& [name, choice] : kDtypes) {
    if (choice == dtype) return name;
  }
  return "";
}

}  // namespace

EngineOptions read_options(const Napi::Value& value) {
  if (!value.IsObject()) refuse("open the engine", "options are no object", "EngineOptions");
  const auto object = value.As<Napi::Object>();
  const Napi::Value path = object.Get("modelPath");
  if (!path.IsString()) refuse("open the engine", "modelPath is no string", "a checkpoint's folder");
  EngineOptions options;
  options.model_path = path.As<Napi::String>().Utf8Value();
  options.device = read_choice(object, "device", kDevices);
  options.dtype = read_choice(object, "dtype", kDtypes);
  options.num_threads = static_cast<int>(read_whole("open the engine", object, "numThreads", 1024));
  options.kv_cache_bytes = static_cast<uint64_t>(read_whole("open the engine", object, "kvCacheBytes", 0x1p53));
  const auto read_optional = [&](const char* name, int& target) {
    if (!object.Get(name).IsUndefined()) target = static_cast<int>(read_whole("open the engine", object, name, 1 << 24));
  };
  if (const Napi::Value folder = object.Get("algorithmCache"); !folder.IsUndefined()) {
    if (!folder.IsString()) refuse("open the engine", "algorithmCache is no string", "a folder");
    options.algorithm_cache = folder.As<Napi::String>().Utf8Value();
  }
  read_optional("maxStepTokens", options.max_step_tokens);
  read_optional("maxStepSequences", options.max_step_sequences);
  if (const Napi::Value share = object.Get("kvMemoryShare"); !share.IsUndefined()) {
    options.kv_memory_share = share.IsNumber() ? share.As<Napi::Number>().DoubleValue() : NAN;
  }
  options.num_tile_slots = static_cast<int>(read_whole("open the engine", object, "numTileSlots", 1 << 20));
  if (const Napi::Value devices = object.Get("layerDevices"); !devices.IsUndefined()) {
    options.layer_devices = copy_array<int32_t>("open the engine", "layerDevices", devices);
  }
  const auto read_count = [&](const char* name, int otherwise) {
    return object.Get(name).IsUndefined() ? otherwise : static_cast<int>(read_whole("open the engine", object, name, 64));
  };
  options.tensor_parallel = read_count("tensorParallel", 1);
  options.vision_devices = read_count("visionDevices", 0);
  if (const Napi::Value head = object.Get("headDtype"); !head.IsUndefined()) {
    options.int8_head = read_choice(object, "headDtype", kHeads);
  }
  if (const Napi::Value cache = object.Get("weightCache"); !cache.IsUndefined()) {
    if (!cache.IsObject()) refuse("open the engine", "weightCache is no object", "{ folder, maxBytes }");
    const Napi::Value folder = cache.As<Napi::Object>().Get("folder");
    if (!folder.IsString()) refuse("open the engine", "weightCache.folder is no string", "a folder");
    options.weight_cache.folder = folder.As<Napi::String>().Utf8Value();
    options.weight_cache.max_bytes =
        static_cast<uint64_t>(read_whole("open the engine", cache.As<Napi::Object>(), "maxBytes", 0x1p53));
  }
  return options;
}

StepBatch OwnedBatch::view() const {
  return {token_ids, positions, embedding_rows, query_starts, block_tables, max_blocks, prompt_lengths, sample,
          temperature, top_p, top_k, seed, min_p, repetition_penalty, presence_penalty, frequency_penalty, num_top,
          seen_starts, seen_ids, seen_counts, bias_starts, bias_ids, biases, ids_from};
}

OwnedBatch read_batch(const Napi::Value& value) {
  if (!value.IsObject()) refuse("step", "the batch is no object", "a StepBatch");
  const auto object = value.As<Napi::Object>();
  OwnedBatch batch;
  batch.token_ids = copy_array<int32_t>("step", "tokenIds", object.Get("tokenIds"));
  batch.positions = copy_array<int32_t>("step", "positions", object.Get("positions"));
  batch.embedding_rows = copy_array<int32_t>("step", "embeddingRows", object.Get("embeddingRows"));
  batch.query_starts = copy_array<int32_t>("step", "queryStarts", object.Get("queryStarts"));
  batch.block_tables = copy_array<int32_t>("step", "blockTables", object.Get("blockTables"));
  batch.max_blocks = static_cast<int>(read_whole("step", object, "maxBlocks", 1 << 24));
  batch.prompt_lengths = copy_array<int32_t>("step", "promptLengths", object.Get("promptLengths"));
  batch.sample = copy_array<uint8_t>("step", "sample", object.Get("sample"));
  batch.temperature = copy_array<float>("step", "temperature", object.Get("temperature"));
  batch.top_p = copy_array<float>("step", "topP", object.Get("topP"));
  batch.top_k = copy_array<int32_t>("step", "topK", object.Get("topK"));
  batch.seed = copy_array<uint64_t>("step", "seed", object.Get("seed"));
  batch.min_p = copy_array<float>("step", "minP", object.Get("minP"));
  batch.repetition_penalty = copy_array<float>("step", "repetitionPenalty", object.Get("repetitionPenalty"));
  batch.presence_penalty = copy_array<float>("step", "presencePenalty", object.Get("presencePenalty"));
  batch.frequency_penalty = copy_array<float>("step", "frequencyPenalty", object.Get("frequencyPenalty"));
  batch.num_top = copy_array<int32_t>("step", "numTop", object.Get("numTop"));
  batch.seen_starts = copy_array<int32_t>("step", "seenStarts", object.Get("seenStarts"));
  batch.seen_ids = copy_array<int32_t>("step", "seenIds", object.Get("seenIds"));
  batch.seen_counts = copy_array<int32_t>("step", "seenCounts", object.Get("seenCounts"));
  batch.bias_starts = copy_array<int32_t>("step", "biasStarts", object.Get("biasStarts"));
  batch.bias_ids = copy_array<int32_t>("step", "biasIds", object.Get("biasIds"));
  batch.biases = copy_array<float>("step", "biases", object.Get("biases"));
  batch.ids_from = copy_array<int32_t>("step", "idsFrom", object.Get("idsFrom"));
  return batch;
}

std::vector<uint8_t> read_pixels(const Napi::Value& value) {
  return copy_array<uint8_t>("encode tiles", "pixels", value);
}

std::vector<int32_t> read_slots(const char* action, const Napi::Value& value) {
  return copy_array<int32_t>(action, "slots", value);
}

Napi::Object info_object(Napi::Env env, const EngineInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("device", info.device == Device::kCpu ? "cpu" : "cuda");
  object.Set("dtype", name_of(info.dtype));
  object.Set("isa", info.isa);
  object.Set("numThreads", info.num_threads);
  object.Set("numDevices", info.num_devices);
  object.Set("tileSize", info.tile_size);
  object.Set("tokensPerTile", info.tokens_per_tile);
  object.Set("vocabSize", info.vocab_size);
  object.Set("hiddenSize", info.hidden_size);
  object.Set("kvBlockSize", info.kv_block_size);
  object.Set("numKvBlocks", info.num_kv_blocks);
  object.Set("kvCacheBytes", static_cast<double>(info.kv_cache_bytes));
  object.Set("numTileSlots", info.num_tile_slots);
  object.Set("stepsInFlight", info.steps_in_flight);
  object.Set("trainedLength", info.trained_length);
  object.Set("contextLength", info.context_length);
  object.Set("weightBytes", static_cast<double>(info.weight_bytes));
  object.Set("weightCache", info.weight_cache);
  object.Set("algorithms", info.algorithms);
  if (!info.dtype_note.empty()) object.Set("dtypeNote", info.dtype_note);
  object.Freeze();
  return object;
}

}  // namespace tessera::addon
