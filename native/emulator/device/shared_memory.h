/** Owns a block's shared memory: the dynamic part, and variables placed as threads first name them. */
#pragma once

#include <cstddef>
#include <vector>

#include "device/report.h"

namespace cuemu {

class SharedMemory {
 public:
  /** What one block may have on the architectures we build for (sm_90); static variables alone 48 KiB. */
  static constexpr size_t kMaxBytes = 227 << 10;
  static constexpr size_t kMaxStaticBytes = 48 << 10;

  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  /** Memory for a block, filled with 0xFF: NaN, so that what was never written shows. */
  void reset(size_t dynamic_bytes);
  void* dynamic() { return memory_; }
  /** The variable declared at `site`; the same memory for each thread of the block. */
  void* variable(Site site, size_t bytes, size_t align);

  const char* begin() const { return memory_; }
  const char* end() const { return memory_ + kCapacity; }

 private:
  struct Variable {
    Site site;
    size_t offset;
    size_t bytes;
  };

  // Between variables lies memory that nobody may touch.
  static constexpr size_t kGap = 64;
  static constexpr size_t kCapacity = 2 * kMaxBytes;

  char* memory_ = nullptr;
  size_t dynamic_bytes_ = 0;
  size_t static_bytes_ = 0;
  size_t used_ = 0;
  std::vector<Variable> variables_;
};

}  // namespace cuemu
