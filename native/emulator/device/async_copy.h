/** Owns a thread's cp.async copies: when they land is drawn as late or as early as the device allows. */
#pragma once

#include <cstddef>
#include <vector>

#include "device/report.h"

namespace cuemu {

class AsyncCopies {
 public:
  /** cp.async of `total` bytes to shared memory: the first `bytes` from `source`, zeros behind. CUEMU_ASYNC=eager lands it at once. */
  void copy(void* target, const void* source, int total, int bytes, Site site);
  /** cp.async.commit_group */
  void commit();
  /** cp.async.wait_group: all but the newest `num_open` groups have landed. */
  void wait(size_t num_open);
  /** For a thread that exits: whether copies are still on their way. */
  bool in_flight() const;
  void clear();

 private:
  struct Copy {
    void* target;
    const void* source;
    int bytes;
    int zeros;
  };
  static void land(const Copy& copy);

  std::vector<Copy> open_;
  std::vector<std::vector<Copy>> groups_;
};

}  // namespace cuemu
