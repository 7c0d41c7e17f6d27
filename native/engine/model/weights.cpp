#include "model/weights.h"

#include <algorithm>
#include <cmath>

#include "model/shard.h"
#include "model/tensor_names.h"
#include "model/weight_cache.h"
#include "ops/cpu/half.h"

namespace tessera {

namespace {

constexpr const char* kDtypeNames[] = {"bf16", "fp16", "fp32", "int8", "nf4", "fp4", "fp8"};  // by `Dtype`

/** A tensor, and what of it a device takes; ranges without an end take all. */
struct Part {
  std::string name;
  std::vector<int64_t> shape;
  Range rows = {};
  Range cols = {};
};

Range or_all(Range range, size_t size) { return range.count == 0 ? Range{0, size} : range; }

/** Reads tensors, or with no device only checks them: one walk over the names serves both. */
class Loader {
 public:
  /** Matrices come from what the cache found, or go to what it began. */
  Loader(const Checkpoint& checkpoint, Ops* ops, int64_t awq_group, WeightCache* cache = nullptr)
      : checkpoint_(checkpoint), ops_(ops), awq_group_(awq_group), cache_(cache) {}

  /** Loads to another device from here on, which takes its part of what several read. */
  void use(Ops& ops, Shard shard = {}) {
    if (!checking()) ops_ = &ops;
    shard_ = shard;
  }

  uint64_t bytes() const { return bytes_; }
  bool checking() const { return ops_ == nullptr; }
  /** Of a check: every matrix with its tensors, shape and type, in the order they come. */
  const std::string& matrices() const { return matrices_; }
  /** About as many as they will take, packed. */
  uint64_t packed_bytes(Dtype dtype) const {
    return (quantised_bits_ + base_weights_ * (dtype == Dtype::kFp32 ? 32 : 16)) / 8;
  }

  std::vector<float> values(const std::string& name, const std::vector<int64_t>& shape) {
    const DiskTensor& tensor = checkpoint_.require(name, shape);
    if (checking()) return {};
    size_t count = 1;
    for (int64_t size : shape) count *= size;
    std::vector<float> out(count);
    const DiskType type = disk_type(name, tensor);
    for (size_t i = 0; i < count; i++) out[i] = cpu::read_disk(tensor.data, type, i);
    return out;
  }

  Buffer upload(const std::vector<float>& values) {
    if (checking()) return {};
    bytes_ += values.size() * 4;
    return ops_->upload(values.data(), values.size() * 4);
  }

  Buffer vector(const std::string& name, int64_t size) { return upload(values(name, {size})); }

  /** The same rows of several vectors as of matrices, one after the other. */
  Buffer vectors(const std::vector<Part>& parts, const char* suffix) {
    std::vector<float> all;
    for (const Part& part : parts) {
      const std::vector<float> more = values(part.name + suffix, {part.shape[0]});
      const Range rows = or_all(part.rows, more.size());
      if (!checking()) all.insert(all.end(), more.begin() + rows.first, more.begin() + rows.first + rows.count);
    }
    return upload(all);
  }

  /** One matrix of several tensors with `cols` columns each; a shape of more than two sizes is flattened. */
  std::unique_ptr<Matrix> matrix(const std::vector<Part>& parts, Join join, WeightType type = WeightType::kBase,
                                 const char* suffix = "") {
    if (type == WeightType::kAwq) return awq_matrix(parts, join);
    std::vector<HostTensor> tensors;
    for (const Part& part : parts) {
      const DiskTensor& tensor = checkpoint_.require(part.name + suffix, part.shape);
      size_t width = 1;
      for (size_t i = 1; i < part.shape.size(); i++) width *= part.shape[i];
      const Range rows = or_all(part.rows, part.shape[0]);
      const Range cols = or_all(part.cols, width);
      const DiskType disk = disk_type(part.name + suffix, tensor);
      const char* data = static_cast<const char*>(tensor.data);
      HostTensor host = {part.name + suffix, data + (rows.first * width + cols.first) * cpu::disk_bytes(disk), disk,
                         rows.count, cols.count};
      host.stride = width;
      tensors.push_back(host);
    }
    auto matrix = load(tensors, join, type);
    // Whoever comes next reads the rest of the same pages.
    for (const Part& part : parts) {
      if (shard_.is_last()) release(checkpoint_.require(part.name + suffix, part.shape));
    }
    return matrix;
  }

  /** The same of tensors as AWQ publishes them: `qweight`, `qzeros` and `scales` in place of each `weight`. */
  std::unique_ptr<Matrix> awq_matrix(const std::vector<Part>& parts, Join join) {
    std::vector<HostTensor> tensors;
    std::vector<const DiskTensor*> read;
    for (const Part& part : parts) {
      const std::string layer = part.name + ".";
      const int64_t rows = part.shape[0], cols = part.shape[1];
      if (rows % 8 != 0 || cols % awq_group_ != 0) {
        refuse("load tensor " + layer + "qweight", "a layer of " + shape_text(part.shape),
               "rows in eights and columns in groups of " + std::to_string(awq_group_));
      }
      const int64_t groups = cols / awq_group_;
      const DiskTensor& codes = checkpoint_.require(layer + "qweight", {cols, rows / 8}, "I32");
      const DiskTensor& zeros = checkpoint_.require(layer + "qzeros", {groups, rows / 8}, "I32");
      const DiskTensor& scales = checkpoint_.require(layer + "scales", {groups, rows}, "F16");
      const size_t outputs = rows, group = awq_group_;
      const Range own_rows = or_all(part.rows, outputs);
      const Range own_cols = or_all(part.cols, cols);  // whole groups, as `check_tensor_parallel` saw to
      const auto behind = [](const DiskTensor& tensor, size_t bytes) {
        return static_cast<const char*>(tensor.data) + bytes;
      };
      HostTensor host = {layer + "qweight", behind(codes, own_cols.first * outputs / 2), DiskType::kF16, own_rows.count,
                         own_cols.count, behind(zeros, own_cols.first / group * outputs / 2),
                         behind(scales, own_cols.first / group * outputs * 2), group};
      host.stride = outputs;
      host.first_row = own_rows.first;
      tensors.push_back(host);
      read.push_back(&codes);
    }
    auto matrix = load(tensors, join, WeightType::kAwq);
    if (shard_.is_last()) {
      for (const DiskTensor* tensor : read) release(*tensor);
    }
    return matrix;
  }

  /** Linear layers that read the same rows as one; the bias, where there is one, has the rows taken of each. */
  Linear linear(const std::vector<Part>& parts, Join join, WeightType type, bool bias) {
    Linear out;
    out.weight = matrix(parts, join, type, ".weight");
    if (bias) out.bias = vectors(parts, ".bias");
    return out;
  }

  Linear linear(const std::string& name, int64_t rows, int64_t cols, WeightType type, bool bias = true) {
    return linear({{name, {rows, cols}}}, Join::kStacked, type, bias);
  }

  /** Of `cols` columns a range; the sum over devices has the first one's bias. */
  Linear linear_of_columns(const std::string& name, int64_t rows, int64_t cols, Range range, WeightType type, bool bias) {
    return linear({{name, {rows, cols}, {}, range}}, Join::kStacked, type, bias && (shard_.is_first() || checking()));
  }

  Norm layer_norm(const std::string& name, int64_t size) {
    return {vector(name + ".weight", size), vector(name + ".bias", size)};
  }
  Norm rms_norm(const std::string& name, int64_t size) { return {vector(name + ".weight", size), {}}; }

 private:
  std::unique_ptr<Matrix> load(std::span<const HostTensor> tensors, Join join, WeightType type) {
    if (checking()) {
      note(tensors, join, type);
      return nullptr;
    }
    auto matrix = cache_ != nullptr && cache_->found() != nullptr ? attach(tensors, join, type)
                                                                  : ops_->load_matrix(tensors, join, type);
    if (cache_ != nullptr && cache_->begun() != nullptr && !matrix->packed().empty()) {
      matrix->rest_on(cache_->begun()->add(matrix->packed()));
    }
    bytes_ += matrix->bytes;
    return matrix;
  }

  std::unique_ptr<Matrix> attach(std::span<const HostTensor> tensors, Join join, WeightType type) {
    const PackedFile& file = *cache_->found();
    const size_t index = num_attached_++;
    auto matrix = index >= file.num_parts()
                      ? nullptr : ops_->attach_matrix(tensors, join, type, file.part(index), file.part_bytes(index));
    if (matrix == nullptr) throw CannotKeep("matrix " + std::to_string(index) + " is of another size");
    return matrix;
  }

  void note(std::span<const HostTensor> tensors, Join join, WeightType type) {
    for (const HostTensor& tensor : tensors) {
      matrices_ += tensor.name + " " + std::to_string(tensor.rows) + "x" + std::to_string(tensor.cols) + " ";
      const uint64_t count = tensor.rows * tensor.cols;
      if (type == WeightType::kBase) {
        base_weights_ += count;
      } else {
        quantised_bits_ += count * (type == WeightType::kNf4 || type == WeightType::kFp4 || type == WeightType::kAwq ? 5 : 8);
      }
    }
    matrices_ += std::to_string(static_cast<int>(join)) + " " + std::to_string(static_cast<int>(type));
    if (shard_.count > 1) matrices_ += " " + std::to_string(shard_.index) + "/" + std::to_string(shard_.count);
    matrices_ += "\n";
  }

  const Checkpoint& checkpoint_;
  Ops* ops_;
  Shard shard_;
  int64_t awq_group_;
  WeightCache* cache_;
  size_t num_attached_ = 0;
  uint64_t bytes_ = 0;
  std::string matrices_;
  uint64_t base_weights_ = 0;
  uint64_t quantised_bits_ = 0;
};

VisionLayer load_vision_layer(Loader& loader, const VisionConfig& config, const TensorNames& names, WeightType type,
                              int i) {
  const std::string layer = names.vision_layer(i);
  const int64_t hidden = config.hidden_size;
  const auto norm = [&](const std::string& name) {
    return config.rms_norm ? loader.rms_norm(name, hidden) : loader.layer_norm(name, hidden);
  };
  VisionLayer out;
  out.norm1 = norm(layer + names.norm1);
  const std::string attention = layer + names.attention;
  if (names.fused_qkv) {
    out.qkv = loader.linear(attention + "qkv", 3 * hidden, hidden, type, config.qkv_bias);
  } else {
    const std::vector<Part> parts = {{attention + "q_proj", {hidden, hidden}},
                                     {attention + "k_proj", {hidden, hidden}},
                                     {attention + "v_proj", {hidden, hidden}}};
    out.qkv = loader.linear(parts, Join::kStacked, type, config.qkv_bias);
  }
  if (config.qk_norm) {
    out.q_norm = loader.rms_norm(attention + "q_norm", hidden);
    out.k_norm = loader.rms_norm(attention + "k_norm", hidden);
  }
  out.proj = loader.linear(layer + names.proj, hidden, hidden, type);
  out.scale1 = loader.vector(layer + names.scale1, hidden);
  out.norm2 = norm(layer + names.norm2);
  out.fc1 = loader.linear(layer + "mlp.fc1", config.intermediate_size, hidden, type);
  out.fc2 = loader.linear(layer + "mlp.fc2", hidden, config.intermediate_size, type);
  out.scale2 = loader.vector(layer + names.scale2, hidden);
  return out;
}

VisionWeights load_vision(Loader& loader, const ModelConfig& model, const TensorNames& names, WeightType type) {
  const VisionConfig& config = model.vision;
  const int64_t hidden = config.hidden_size;
  const int64_t patch = config.patch_size;
  VisionWeights out;
  out.type = type;
  out.class_embedding = loader.upload(loader.values(names.vision + names.class_embedding, {1, 1, hidden}));
  const int64_t trained = config.trained_grid;
  std::vector<float> positions = loader.values(names.vision + names.positions, {1, trained * trained + 1, hidden});
  if (!loader.checking() && trained != model.grid()) {
    positions = interpolate_positions(positions, hidden, config.trained_grid, model.grid());
  }
  out.positions = loader.upload(positions);
  const std::string name = names.vision + names.patch;
  out.patch.weight = loader.matrix({{name + ".weight", {hidden, 3, patch, patch}}}, Join::kStacked);
  out.patch.bias = loader.vector(name + ".bias", hidden);
  for (int i = 0; i < config.num_layers; i++) {
    out.layers.push_back(load_vision_layer(loader, config, names, type, i));
  }
  return out;
}

ProjectorWeights load_projector(Loader& loader, const ModelConfig& config, const TensorNames& names) {
  const int64_t factor = config.shuffle_factor;
  const int64_t square = config.vision.hidden_size * factor * factor;
  const int64_t hidden = config.decoder.hidden_size;
  ProjectorWeights out;
  out.norm = loader.layer_norm(names.projector_norm, square);
  out.linear1 = loader.linear(names.projector_linear1, hidden, square, WeightType::kBase);
  out.linear2 = loader.linear(names.projector_linear2, hidden, hidden, WeightType::kBase);
  return out;
}

DecoderLayer load_decoder_layer(Loader& loader, const DecoderConfig& config, const std::string& layer,
                                const ShardRanges& ranges, WeightType type) {
  const int64_t hidden = config.hidden_size;
  const int64_t q = static_cast<int64_t>(config.num_heads) * config.head_dim;
  const int64_t kv = static_cast<int64_t>(config.num_kv_heads) * config.head_dim;
  const int64_t inner = config.intermediate_size;
  const std::string attention = layer + "self_attn.", mlp = layer + "mlp.";
  DecoderLayer out;
  out.norm1 = loader.rms_norm(layer + "input_layernorm", hidden);
  out.qkv = loader.linear({{attention + "q_proj", {q, hidden}, ranges.queries},
                           {attention + "k_proj", {kv, hidden}, ranges.keys},
                           {attention + "v_proj", {kv, hidden}, ranges.keys}}, Join::kStacked, type, config.qkv_bias);
  out.out = loader.linear_of_columns(attention + "o_proj", hidden, q, ranges.queries, type, config.out_bias);
  out.norm2 = loader.rms_norm(layer + "post_attention_layernorm", hidden);
  out.gate_up = loader.linear({{mlp + "gate_proj", {inner, hidden}, ranges.inner},
                               {mlp + "up_proj", {inner, hidden}, ranges.inner}}, Join::kGateUp, type, config.mlp_bias);
  out.down = loader.linear_of_columns(mlp + "down_proj", hidden, inner, ranges.inner, type, config.mlp_bias);
  return out;
}

/** What each shard holds. Shards take their parts of a layer one after the other, so that its pages are read once. */
std::vector<DecoderWeights> load_decoder(Loader& loader, const DecoderConfig& config, const TensorNames& names,
                                         bool tied, const WeightPlan& plan, const Placement& placement) {
  const std::vector<int64_t> vocab_shape = {config.vocab_size, config.hidden_size};
  const int num_shards = placement.num_shards();
  std::vector<DecoderWeights> out(num_shards);
  std::vector<ShardRanges> ranges;
  for (int i = 0; i < num_shards; i++) ranges.push_back(ranges_of(config, {i, num_shards}));
  for (int i = 0; i < num_shards; i++) {
    loader.use(placement.device(i), {i, num_shards});
    out[i].embedding = loader.matrix({{names.embedding(), vocab_shape, ranges[i].vocabulary}}, Join::kStacked);
  }
  for (int layer = 0; layer < config.num_layers; layer++) {
    for (int i = 0; i < num_shards; i++) {
      loader.use(placement.of_layer(layer, i), {i, num_shards});
      out[i].layers.push_back(
          load_decoder_layer(loader, config, names.decoder_layer(layer), ranges[i], plan.decoder));
    }
  }
  for (int i = 0; i < num_shards; i++) {
    loader.use(placement.device(i), {i, num_shards});
    out[i].norm = loader.rms_norm(names.decoder + "norm", config.hidden_size);
    if (tied && plan.head == WeightType::kBase) continue;
    out[i].head = loader.matrix({{tied ? names.embedding() : names.head, vocab_shape, ranges[i].vocabulary}},
                                Join::kStacked, plan.head);
  }
  return out;
}

/** A head that is there and differs from the embedding counts, whatever config.json says: transformers keeps it too. */
bool has_tied_head(const DecoderConfig& config, const TensorNames& names, const Checkpoint& checkpoint) {
  if (!checkpoint.has(names.head)) return config.tied_head.value_or(true);
  return config.tied_head.value_or(false) && checkpoint.are_equal(names.head, names.embedding());
}

/** What a checkpoint may hold beside the weights that run. */
bool may_be_unused(const std::string& name, const ModelConfig& config, const TensorNames& names) {
  if (name == names.head) return true;  // a copy of the embedding
  if (name.ends_with("rotary_emb.inv_freq")) return true;  // written by old versions, computed from config.json
  if (name.rfind(names.vision_layers, 0) != 0) return false;
  const size_t end = name.find('.', names.vision_layers.size());
  const std::string number = name.substr(names.vision_layers.size(), end - names.vision_layers.size());
  for (int i = config.vision.num_layers; i < config.vision.stored_layers; i++) {  // behind `select_layer`
    if (number == std::to_string(i)) return true;
  }
  return false;
}

ModelWeights walk(Loader& loader, const ModelConfig& config, const Checkpoint& checkpoint, const WeightPlan& plan,
                  const Placement& placement) {
  const TensorNames names = tensor_names(config.layout, checkpoint);
  const bool tied = has_tied_head(config.decoder, names, checkpoint);
  ModelWeights out;
  const int num_towers = placement.num_towers();
  for (int i = 0; i < num_towers; i++) {
    loader.use(placement.device(i), {i, num_towers});
    TowerWeights tower;
    tower.vision = load_vision(loader, config, names, plan.vision);
    tower.projector = load_projector(loader, config, names);
    out.towers.push_back(std::move(tower));
  }
  out.decoder = load_decoder(loader, config.decoder, names, tied, plan, placement);
  out.bytes = loader.bytes();
  return out;
}

/** The four weights of bicubic interpolation at `offset` in [0, 1) behind the second point. */
void cubic_weights(double offset, double out[4]) {
  constexpr double a = -0.75;
  for (int i = 0; i < 4; i++) {
    const double d = std::fabs(offset + 1 - i);
    out[i] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  }
}

WeightPlan plan_layers(const ModelConfig& config, Dtype dtype) {
  if (config.decoder.awq_group != 0) {
    if (is_quantised(dtype)) {
      refuse("open the engine", "the checkpoint is quantised already (awq)", "dtype bf16, fp16 or fp32");
    }
    const char* note = dtype == Dtype::kBf16 ? "the decoder's layers are 4 bits, as the checkpoint holds them (awq)"
                                             : "the decoder's 4-bit layers (awq) are held as the numbers they stand for";
    return {.decoder = WeightType::kAwq, .note = note};
  }
  switch (dtype) {
    case Dtype::kInt8: return {.vision = WeightType::kInt8, .decoder = WeightType::kInt8};
    case Dtype::kFp8: return {.vision = WeightType::kFp8, .decoder = WeightType::kFp8};
    case Dtype::kNf4:
    case Dtype::kFp4: {
      const WeightType type = dtype == Dtype::kNf4 ? WeightType::kNf4 : WeightType::kFp4;
      if (!config.vision.qk_norm) return {.vision = type, .decoder = type};
      return {.vision = WeightType::kInt8, .decoder = type, .note = "the 6B vision tower is held in int8: 4 bits make it lose what it sees"};
    }
    default: return {};
  }
}

}  // namespace

ModelWeights load_weights(const ModelConfig& config, const Checkpoint& checkpoint, const Placement& placement,
                          const WeightPlan& plan, const EngineOptions& options) {
  Loader check(checkpoint, nullptr, config.decoder.awq_group);
  walk(check, config, checkpoint, plan, placement);
  const TensorNames names = tensor_names(config.layout, checkpoint);
  checkpoint.refuse_unused([&](const std::string& name) { return may_be_unused(name, config, names); });

  const Ops& ops = placement.first();
  const std::string dtype = kDtypeNames[static_cast<int>(options.dtype)] + std::string(options.int8_head ? "-head8" : "");
  const bool is_cpu = options.device == Device::kCpu;
  WeightCache cache(is_cpu ? options.weight_cache : WeightCacheOptions{}, {
      .model_path = options.model_path,
      .dtype = dtype,
      .isa = ops.isa(),
      .identity = packed_identity(checkpoint, dtype, ops.isa(), check.matrices()),
      .bytes = check.packed_bytes(options.dtype),
      .num_threads = ops.num_threads(),
  });
  cache.open();
  const auto load = [&] {
    Loader loader(checkpoint, &placement.first(), config.decoder.awq_group, &cache);
    ModelWeights loaded = walk(loader, config, checkpoint, plan, placement);
    checkpoint.require_unchanged();
    return loaded;
  };
  ModelWeights weights;
  try {
    weights = load();
    if (cache.begun() != nullptr) cache.finish();
  } catch (const CannotKeep& error) {  // what was read or written so far is left behind
    cache.give_up(error.what());
    weights = load();
  }
  weights.cache_note = cache.note();
  return weights;
}

WeightPlan plan_weights(const ModelConfig& config, Dtype dtype, bool int8_head) {
  WeightPlan plan = plan_layers(config, dtype);
  if (int8_head) plan.head = WeightType::kInt8Head;
  return plan;
}

std::vector<float> interpolate_positions(const std::vector<float>& positions, size_t cols, int from, int to) {
  std::vector<float> out(positions.begin(), positions.begin() + cols);
  out.resize((1 + static_cast<size_t>(to) * to) * cols);
  const double ratio = static_cast<double>(from) / to;
  for (int y = 0; y < to; y++) {
    const double source_y = (y + 0.5) * ratio - 0.5;
    const int base_y = static_cast<int>(std::floor(source_y));
    double weight_y[4];
    cubic_weights(source_y - base_y, weight_y);
    for (int x = 0; x < to; x++) {
      const double source_x = (x + 0.5) * ratio - 0.5;
      const int base_x = static_cast<int>(std::floor(source_x));
      double weight_x[4];
      cubic_weights(source_x - base_x, weight_x);
      float* target = out.data() + (1 + static_cast<size_t>(y) * to + x) * cols;
      for (size_t c = 0; c < cols; c++) {
        double sum = 0;
        for (int j = 0; j < 4; j++) {
          const int row = std::clamp(base_y - 1 + j, 0, from - 1);
          for (int i = 0; i < 4; i++) {
            const int col = std::clamp(base_x - 1 + i, 0, from - 1);
            sum += weight_y[j] * weight_x[i] * positions[(1 + static_cast<size_t>(row) * from + col) * cols + c];
          }
        }
        target[c] = static_cast<float>(sum);
      }
    }
  }
  return out;
}

}  // namespace tessera
