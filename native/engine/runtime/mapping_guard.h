/** Owns what happens when a mapped file can no longer be read where it is mapped: zeros and a note, not the process's end. */
#pragma once

#include <cstddef>

namespace tessera {

/**
 * While it lives, a read of [start, start + bytes) that the system answers with SIGBUS (the file was cut short, its disk
 * failed) finds zeros, there and behind it. Other such signals go where they went before. Of very many guards at once
 * the last ones guard nothing.
 */
class MappingGuard {
 public:
  MappingGuard(const void* start, size_t bytes);
  ~MappingGuard();
  MappingGuard(const MappingGuard&) = delete;
  MappingGuard& operator=(const MappingGuard&) = delete;

  /** Whether there was such a read. Any thread. */
  bool has_failed() const;

 private:
  int slot_ = -1;
};

}  // namespace tessera
