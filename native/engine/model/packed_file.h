/**
 * Owns the file that packed weights are kept in: matrices as they lie in memory, each on a page, then a table of places
 * and checksums, the text that says what was packed, and a footer. A file counts only if all of it is as it was written.
 */
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace tessera {

/** Weights cannot be kept; whoever wanted to runs without. */
struct CannotKeep : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/** A file that was found whole, mapped. Matrices hold on to the mapping, not to this. */
class PackedFile {
 public:
  /** Null where the file is none, damaged, or of another `identity`; `why` says so for people. Reads all of it. */
  static std::unique_ptr<PackedFile> open(const std::string& path, const std::string& identity, int num_threads,
                                          std::string& why);

  size_t num_parts() const { return parts_.size(); }
  size_t part_bytes(size_t index) const { return parts_[index].size(); }
  std::shared_ptr<const char> part(size_t index) const { return {mapping_, parts_[index].data()}; }

 private:
  std::shared_ptr<const char> mapping_;
  std::vector<std::span<const char>> parts_;
};

/** Writes such a file from its start. Does not own the descriptor. */
class PackedFileWriter {
 public:
  explicit PackedFileWriter(int fd) : fd_(fd) {}

  /** Appends a matrix and returns it as it lies in the file, mapped. @throws CannotKeep */
  std::shared_ptr<const char> add(std::span<const char> bytes);
  /** @throws CannotKeep */
  void finish(const std::string& identity);

 private:
  void write(const void* data, size_t bytes);

  int fd_;
  uint64_t at_ = 0;
  uint64_t num_parts_ = 0;
  std::vector<uint64_t> table_;
};

}  // namespace tessera
