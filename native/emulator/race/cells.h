/** Owns what the race detector remembers of each byte: its last write and some of the reads since. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace cuemu {

/** An access by one thread of one block. */
struct Access {
  const void* code = nullptr;
  uint32_t clock = 0;   // of the thread, then; 0: none
  uint32_t block = 0;   // serial number over all launches; 0: the host
  uint16_t thread = 0;
};

struct Cell {
  /** Reads by threads that no order connects; more than this many are forgotten, the others still tell of a race. */
  static constexpr int kNumReads = 4;

  Access write;
  Access reads[kNumReads];
  bool is_written = false;
};

/** Cells of a range of memory, made when first touched. */
class Region {
 public:
  Region(const char* begin, size_t bytes, bool is_shared) : begin(begin), bytes(bytes), is_shared(is_shared) {}

  const char* begin;
  size_t bytes;
  bool is_shared;

  bool holds(const char* at) const { return at >= begin && at < begin + bytes; }

  Cell& cell(const char* at) {
    const size_t offset = static_cast<size_t>(at - begin);
    if (pages_.empty()) pages_.resize((bytes + kPageBytes - 1) / kPageBytes);
    auto& page = pages_[offset / kPageBytes];
    if (page == nullptr) page.reset(new Cell[kPageBytes]);
    return page[offset % kPageBytes];
  }
  void clear() { pages_.clear(); }

 private:
  static constexpr size_t kPageBytes = 1024;
  std::vector<std::unique_ptr<Cell[]>> pages_;
};

}  // namespace cuemu
