/** Owns a block's shared memory: the dynamic part, and variables placed as threads first name them. */
#pragma once

#include <cstddef>
#include <vector>

#include "device/report.h"

namespace cuemu {

class SharedMemory {
 public:
  /**
   * What one block may have on every architecture we build for: sm_89 and sm_120 have least (sm_80 163 KiB, sm_90 and
   * sm_100 227). Static variables alone, or with dynamic memory that a kernel was not allowed more of: 48 KiB.
   */
  static constexpr size_t kMaxBytes = 99 << 10;
  static constexpr size_t kMaxStaticBytes = 48 << 10;

  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  /**
   * Memory for a block, filled with 0xFF: NaN, so that what was never written shows. `is_allowed`: the kernel was told
   * that it may have more than 48 KiB.
   */
  void reset(size_t dynamic_bytes, bool is_allowed);
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

  /** Dynamic memory begins at a multiple of this behind the variables. */
  static constexpr size_t kDynamicAlign = 1024;
  // Between variables lies memory that nobody may touch.
  static constexpr size_t kGap = 64;
  static constexpr size_t kCapacity = 2 * kMaxBytes;

  char* memory_ = nullptr;
  size_t dynamic_bytes_ = 0;
  size_t most_ = kMaxStaticBytes;  // of both
  size_t static_bytes_ = 0;
  size_t used_ = 0;
  std::vector<Variable> variables_;
};

}  // namespace cuemu
