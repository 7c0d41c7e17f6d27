/** Owns a checkpoint's tensors on disk: safetensors files mapped into memory, one or several behind an index. */
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "runtime/mapped_file.h"

namespace tessera {

/** A tensor inside a mapped file. */
struct DiskTensor {
  std::string dtype;  // as written: "BF16"
  std::vector<int64_t> shape;
  const char* data = nullptr;
  uint64_t bytes = 0;
  const MappedFile* file = nullptr;
};

/**
 * Reads a file's header and checks it: every tensor is as long as its shape says, and together they fill the file, one
 * behind the other, as the format asks.
 */
std::map<std::string, DiskTensor> read_safetensors(const MappedFile& file);

/** All tensors of a checkpoint folder. Data stays mapped as long as this lives. */
class Checkpoint {
 public:
  /** `folder` holds model.safetensors, or model.safetensors.index.json with the files it names. */
  explicit Checkpoint(const std::string& folder);

  const std::vector<std::unique_ptr<MappedFile>>& files() const { return files_; }
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  /** A tensor of this shape in bf16, fp16 or fp32; anything else is an error that names tensor, shape and file. */
  const DiskTensor& require(const std::string& name, const std::vector<int64_t>& shape) const;
  /** A tensor of this shape and safetensors dtype. */
  const DiskTensor& require(const std::string& name, const std::vector<int64_t>& shape, const char* dtype) const;
  /** Whether two tensors hold the same type, shape and bytes. */
  bool are_equal(const std::string& a, const std::string& b) const;
  /** Throws, naming the file, where one is no longer as it was when it was opened. */
  void require_unchanged() const;
  /** Throws, naming tensor, shape and file, where a tensor was never required and is not `allowed` to be left. */
  void refuse_unused(const std::function<bool(const std::string& name)>& allowed) const;

 private:
  void add_file(const std::string& path);
  const DiskTensor& find(const std::string& name, const std::vector<int64_t>& shape) const;
  void add_shards(const std::string& index_path);

  std::string folder_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, DiskTensor> tensors_;
  mutable std::set<std::string> required_;
};

/** Gives a tensor's memory back to the page cache: it was read and counts no longer as this process's. */
void release(const DiskTensor& tensor);

/** The engine's type of a safetensors dtype; an error for a type that holds no weights. */
DiskType disk_type(const std::string& name, const DiskTensor& tensor);

std::string shape_text(const std::vector<int64_t>& shape);

/** A whole small text file. */
std::string read_text_file(const std::string& path);

}  // namespace tessera
