#include "ops/cuda/read_ahead.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "ops/awq.h"

namespace tessera::cuda {

namespace {

std::atomic<uint64_t> asked_bytes{0};

void will_need(const void* data, size_t bytes) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(data) / page * page;
  // A hint: where it is not taken, reading waits as it would have.
  (void)madvise(reinterpret_cast<void*>(begin), reinterpret_cast<uintptr_t>(data) + bytes - begin, MADV_WILLNEED);
  asked_bytes += bytes;
}

}  // namespace

void read_ahead(const HostTensor& part, size_t first, size_t count) {
  const size_t end = std::min(part.rows * part.cols, first + count);
  if (first >= end) return;
  const size_t width = part.type == DiskType::kF32 ? 4 : 2;
  const auto place = [&](size_t value) { return value / part.cols * part.row_stride() + value % part.cols; };
  const size_t begin = place(first);
  will_need(static_cast<const char*>(part.data) + begin * width, (place(end - 1) + 1 - begin) * width);
}

void read_ahead_awq(const HostTensor& part) {
  const size_t groups = part.cols / part.group_cols, outputs = awq::outputs(part);
  // From the first output of the first line to the last one of the last.
  const auto ask = [&](const void* data, size_t lines, size_t first, size_t end, size_t line) {
    will_need(static_cast<const char*>(data) + first, (lines - 1) * line + end - first);
  };
  const size_t first = part.first_row, end = part.first_row + part.rows;
  ask(part.data, part.cols, first / 8 * 4, (end + 7) / 8 * 4, outputs / 2);
  ask(part.zeros, groups, first / 8 * 4, (end + 7) / 8 * 4, outputs / 2);
  ask(part.scales, groups, first * 2, end * 2, outputs * 2);
}

uint64_t bytes_read_ahead() { return asked_bytes; }

}  // namespace tessera::cuda
