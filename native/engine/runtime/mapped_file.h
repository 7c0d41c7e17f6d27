/** Owns a file mapped into memory for reading, and the proof that it stayed as it was meanwhile. */
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/mapping_guard.h"

namespace tessera {

/** A file mapped for reading; unmapped with the object. */
class MappedFile {
 public:
  /** @throws Error where it cannot be opened or is no plain file */
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const char* data() const { return data_; }
  uint64_t size() const { return size_; }
  /** When it was last written, in ns since 1970. */
  int64_t modified_ns() const { return modified_ns_; }
  /**
   * Throws where the file was cut short, written to or failed to be read since it was opened: what was read may then be
   * part of one content, part of another.
   */
  void require_unchanged() const;

 private:
  void close();

  std::string path_;
  int fd_ = -1;
  const char* data_ = nullptr;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
  std::optional<MappingGuard> guard_;
};

}  // namespace tessera
