#include "model/safetensors.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "model/json.h"

namespace tessera {

namespace {

// The format's own limit.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr uint64_t kMaxJsonBytes = 64'000'000;

const std::map<std::string, uint64_t> kDtypeBits = {
    {"BOOL", 8}, {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"I16", 16}, {"U16", 16},
    {"F16", 16}, {"BF16", 16}, {"I32", 32}, {"U32", 32},    {"F32", 32},    {"F64", 64}, {"I64", 64}, {"U64", 64},
};

[[noreturn]] void bad_header(const MappedFile& file, const std::string& what, const std::string& expected) {
  refuse("read " + file.path(), what, expected);
}

uint64_t offset(const MappedFile& file, const std::string& name, const Json& value) {
  if (!value.is_integer() || value.integer() < 0) {
    bad_header(file, "offset of tensor " + name + " is no natural number", "data_offsets [begin, end]");
  }
  return static_cast<uint64_t>(value.integer());
}

DiskTensor read_tensor(const MappedFile& file, const std::string& name, const Json& entry, uint64_t data_start) {
  const Json* dtype = entry.find("dtype");
  const Json* shape = entry.find("shape");
  const Json* offsets = entry.find("data_offsets");
  if (dtype == nullptr || !dtype->is_string() || shape == nullptr || !shape->is_array() || offsets == nullptr ||
      !offsets->is_array() || offsets->array().size() != 2) {
    bad_header(file, "entry of tensor " + name + " is incomplete", "dtype, shape and data_offsets");
  }
  DiskTensor tensor;
  tensor.file = &file;
  tensor.dtype = dtype->string();
  const auto bits = kDtypeBits.find(tensor.dtype);
  if (bits == kDtypeBits.end()) bad_header(file, "tensor " + name + " of dtype " + tensor.dtype, "a known dtype");
  uint64_t bytes = bits->second / 8;
  for (const Json& size : shape->array()) {
    if (!size.is_integer() || size.integer() < 0) {
      bad_header(file, "shape of tensor " + name + " is no list of natural numbers", "one");
    }
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(size.integer()), &bytes)) {
      bad_header(file, "shape of tensor " + name + " is beyond 64 bits", "one the file can hold");
    }
    tensor.shape.push_back(size.integer());
  }
  const uint64_t begin = offset(file, name, offsets->array()[0]);
  const uint64_t end = offset(file, name, offsets->array()[1]);
  const uint64_t available = file.size() - data_start;
  if (begin > end || end > available) {
    bad_header(file, "tensor " + name + " " + shape_text(tensor.shape) + " lies at bytes " + std::to_string(begin) +
               " to " + std::to_string(end) + " of " + std::to_string(available), "it inside the file (truncated?)");
  }
  if (end - begin != bytes) {
    bad_header(file, "tensor " + name + " " + shape_text(tensor.shape) + " " + tensor.dtype + " has " +
               std::to_string(end - begin) + " bytes", std::to_string(bytes));
  }
  tensor.data = file.data() + data_start + begin;
  tensor.bytes = bytes;
  return tensor;
}

/** Tensors may neither share bytes nor leave any between or behind them. */
void check_layout(const MappedFile& file, const std::map<std::string, DiskTensor>& tensors, const char* data_start) {
  using Place = std::pair<const char*, const char*>;
  std::vector<std::pair<Place, const std::string*>> places;
  for (const auto& [name, tensor] : tensors) places.push_back({{tensor.data, tensor.data + tensor.bytes}, &name});
  std::sort(places.begin(), places.end());
  const char* at = data_start;
  for (const auto& [place, name] : places) {
    if (place.first != at) {
      bad_header(file, "tensor " + *name + " " + shape_text(tensors.at(*name).shape) + " begins at byte " +
                 std::to_string(place.first - data_start), "at " + std::to_string(at - data_start) +
                 ", where the one before it ends");
    }
    at = place.second;
  }
  const uint64_t left = file.data() + file.size() - at;
  if (left != 0) bad_header(file, std::to_string(left) + " bytes behind the last tensor", "none");
}

}  // namespace

std::map<std::string, DiskTensor> read_safetensors(const MappedFile& file) {
  if (file.size() < 8) bad_header(file, std::to_string(file.size()) + " bytes", "a safetensors file");
  uint64_t header_bytes;
  std::memcpy(&header_bytes, file.data(), 8);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - 8) {
    bad_header(file, "a header of " + std::to_string(header_bytes) + " bytes in a file of " +
               std::to_string(file.size()), "a safetensors file, whole");
  }
  const Json header = Json::parse({file.data() + 8, header_bytes}, "the header of " + file.path());
  if (!header.is_object()) bad_header(file, "a header that is no object", "one");
  std::map<std::string, DiskTensor> tensors;
  for (const auto& [name, entry] : header.object()) {
    if (name != "__metadata__") tensors.emplace(name, read_tensor(file, name, entry, 8 + header_bytes));
  }
  check_layout(file, tensors, file.data() + 8 + header_bytes);
  return tensors;
}

Checkpoint::Checkpoint(const std::string& folder) : folder_(folder) {
  const std::string index_path = folder + "/model.safetensors.index.json";
  const std::string single = folder + "/model.safetensors";
  if (::access(index_path.c_str(), F_OK) != 0 || ::access(single.c_str(), F_OK) == 0) {
    add_file(single);
    return;
  }
  add_shards(index_path);
}

void Checkpoint::add_shards(const std::string& index_path) {
  const Json index = Json::parse(read_text_file(index_path), index_path);
  const Json* weight_map = index.find("weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) refuse("read " + index_path, "no weight_map", "one");
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map->object()) {
    if (!file.is_string() || file.string().find_first_of(std::string_view("/\0", 2)) != std::string::npos ||
        file.string().empty()) {
      refuse("read " + index_path, "the file of tensor " + tensor + " is no plain file name", "one in the folder");
    }
    names.insert(file.string());
  }
  for (const auto& name : names) add_file(folder_ + "/" + name);
  for (const auto& [name, file] : weight_map->object()) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end() || found->second.file->path() != folder_ + "/" + file.string()) {
      refuse("read " + index_path, "tensor " + name + " is not in " + file.string(), "it there");
    }
  }
}

void Checkpoint::add_file(const std::string& path) {
  files_.push_back(std::make_unique<MappedFile>(path));
  for (auto& [name, tensor] : read_safetensors(*files_.back())) {
    const auto [at, added] = tensors_.emplace(name, tensor);
    if (!added) refuse("read " + path, "tensor " + name + " is in " + at->second.file->path() + " too", "it once");
  }
}

const DiskTensor& Checkpoint::find(const std::string& name, const std::vector<int64_t>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    refuse("load " + folder_, "tensor " + name + " is missing", "it with shape " + shape_text(shape));
  }
  const DiskTensor& tensor = found->second;
  if (tensor.shape != shape) {
    refuse("load " + tensor.file->path(), "tensor " + name + " has shape " + shape_text(tensor.shape),
           shape_text(shape) + " by config.json");
  }
  required_.insert(name);
  return tensor;
}

const DiskTensor& Checkpoint::require(const std::string& name, const std::vector<int64_t>& shape) const {
  const DiskTensor& tensor = find(name, shape);
  disk_type(name, tensor);
  return tensor;
}

const DiskTensor& Checkpoint::require(const std::string& name, const std::vector<int64_t>& shape,
                                      const char* dtype) const {
  const DiskTensor& tensor = find(name, shape);
  if (tensor.dtype != dtype) {
    refuse("load " + tensor.file->path(), "tensor " + name + " " + shape_text(shape) + " is " + tensor.dtype, dtype);
  }
  return tensor;
}

bool Checkpoint::are_equal(const std::string& a, const std::string& b) const {
  const auto first = tensors_.find(a);
  const auto second = tensors_.find(b);
  if (first == tensors_.end() || second == tensors_.end()) return false;
  return first->second.dtype == second->second.dtype && first->second.shape == second->second.shape &&
         std::memcmp(first->second.data, second->second.data, first->second.bytes) == 0;
}

void Checkpoint::require_unchanged() const {
  for (const auto& file : files_) file->require_unchanged();
}

void Checkpoint::refuse_unused(const std::function<bool(const std::string& name)>& allowed) const {
  for (const auto& [name, tensor] : tensors_) {
    if (required_.count(name) != 0 || allowed(name)) continue;
    refuse("load " + tensor.file->path(), "tensor " + name + " " + shape_text(tensor.shape) + " has no place in the model",
           "none but what config.json asks for");
  }
}

void release(const DiskTensor& tensor) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  // Pages shared with a neighbour may be in use; those would only be mapped again.
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(tensor.data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(tensor.data) + tensor.bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

DiskType disk_type(const std::string& name, const DiskTensor& tensor) {
  if (tensor.dtype == "BF16") return DiskType::kBf16;
  if (tensor.dtype == "F16") return DiskType::kF16;
  if (tensor.dtype == "F32") return DiskType::kF32;
  refuse("load " + tensor.file->path(), "tensor " + name + " " + shape_text(tensor.shape) + " is " + tensor.dtype,
         "BF16, F16 or F32");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

std::string read_text_file(const std::string& path) {
  const MappedFile file(path);
  if (file.size() > kMaxJsonBytes) refuse("read " + path, std::to_string(file.size()) + " bytes", "a small text file");
  std::string text(file.data(), static_cast<size_t>(file.size()));
  file.require_unchanged();
  return text;
}

}  // namespace tessera
