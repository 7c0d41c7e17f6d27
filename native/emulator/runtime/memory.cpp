#include "runtime/memory.h"

#include <cstdlib>
#include <cstring>

#include "device/access.h"
#include "device/report.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define CUEMU_POISON(at, bytes) __asan_poison_memory_region(at, bytes)
#define CUEMU_UNPOISON(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define CUEMU_POISON(at, bytes) (void)(at), (void)(bytes)
#define CUEMU_UNPOISON(at, bytes) (void)(at), (void)(bytes)
#endif

namespace cuemu {

namespace {
// cudaMalloc's own alignment.
constexpr size_t kAlign = 256;

size_t padded(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }
}  // namespace

size_t Memory::capacity() { return static_cast<size_t>(setting("CUEMU_DEVICE_MB", 4096)) << 20; }

size_t Memory::used(int device) const {
  size_t bytes = 0;
  for (const auto& [at, allocation] : allocations_) bytes += allocation.device == device ? padded(allocation.bytes) : 0;
  return bytes;
}

void* Memory::allocate(int device, size_t bytes) {
  if (used(device) + padded(bytes) > capacity()) return nullptr;
  char* at = static_cast<char*>(std::aligned_alloc(kAlign, padded(bytes)));
  if (at == nullptr) return nullptr;
  std::memset(at, 0xFF, bytes);
  CUEMU_POISON(at, padded(bytes));
  allocations_[at] = {device, bytes};
  note_memory(at, bytes, true);
  return at;
}

bool Memory::free(void* memory) {
  char* at = static_cast<char*>(memory);
  const auto found = allocations_.find(at);
  if (found == allocations_.end()) return false;
  note_memory(at, found->second.bytes, false);
  CUEMU_UNPOISON(at, padded(found->second.bytes));
  // Without the sanitizer, so that who reads it afterwards gets NaN and not its old values.
  std::memset(at, 0xFF, found->second.bytes);
  allocations_.erase(found);
  std::free(at);
  return true;
}

int Memory::device_of(const void* memory, size_t bytes) const {
  const char* at = static_cast<const char*>(memory);
  auto next = allocations_.upper_bound(const_cast<char*>(at));
  if (next == allocations_.begin()) return -1;
  const auto& [begin, allocation] = *--next;
  return at + bytes <= begin + allocation.bytes ? allocation.device : -1;
}

void* Memory::allocate_pinned(size_t bytes) {
  void* at = std::aligned_alloc(kAlign, padded(bytes));
  if (at != nullptr) pinned_[static_cast<char*>(at)] = {bytes, true};
  return at;
}

bool Memory::free_pinned(void* at) {
  const auto found = pinned_.find(static_cast<char*>(at));
  if (found == pinned_.end() || !found->second.is_ours) return false;
  pinned_.erase(found);
  std::free(at);
  return true;
}

bool Memory::is_pinned(const void* memory) const {
  const char* at = static_cast<const char*>(memory);
  auto next = pinned_.upper_bound(const_cast<char*>(at));
  if (next == pinned_.begin()) return false;
  const auto& [begin, range] = *--next;
  return at < begin + range.bytes;
}

void Memory::open(int device, [[maybe_unused]] bool may_touch) const {
  for (const auto& [at, allocation] : allocations_) {
    if (!has_peer(device, allocation.device)) continue;
    if (may_touch) CUEMU_UNPOISON(at, allocation.bytes);
    else CUEMU_POISON(at, allocation.bytes);
  }
}

Memory::Access::Access(const Memory& memory, int device) : memory_(memory), device_(device) {
  memory_.open(device_, true);
}

Memory::Access::~Access() { memory_.open(device_, false); }

}  // namespace cuemu
