/** Owns device memory, pinned host memory, and who may touch which: the host none of the first, a device its own and its peers'. */
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace cuemu {

class Memory {
 public:
  /** Memory of a device, filled with 0xFF; null when the device (CUEMU_DEVICE_MB, 4096) has no more. */
  void* allocate(int device, size_t bytes);
  /** False where `at` is not the beginning of an allocation. */
  bool free(void* at);
  size_t used(int device) const;
  static size_t capacity();

  /** Device that holds all of [at, at + bytes); -1 where none does. */
  int device_of(const void* at, size_t bytes) const;

  void* allocate_pinned(size_t bytes);
  bool free_pinned(void* at);
  void pin(void* at, size_t bytes) { pinned_[static_cast<char*>(at)] = {bytes, false}; }
  bool unpin(void* at) { return pinned_.erase(static_cast<char*>(at)) > 0; }
  bool is_pinned(const void* at) const;

  void enable_peer(int device, int peer) { peers_.insert({device, peer}); }
  bool has_peer(int device, int peer) const { return device == peer || peers_.contains({device, peer}); }

  /** While it lives, `device` may touch its memory and that of its peers; needs the address sanitizer to be enforced. */
  class Access {
   public:
    Access(const Memory& memory, int device);
    ~Access();
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

   private:
    const Memory& memory_;
    int device_;
  };

 private:
  struct Allocation {
    int device;
    size_t bytes;
  };
  struct Pinned {
    size_t bytes;
    bool is_ours;
  };
  void open(int device, bool may_touch) const;

  std::map<char*, Allocation> allocations_;
  std::map<char*, Pinned> pinned_;
  std::set<std::pair<int, int>> peers_;
};

}  // namespace cuemu
