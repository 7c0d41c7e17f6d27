#include "device/shared_memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define CUEMU_POISON(at, bytes) __asan_poison_memory_region(at, bytes)
#define CUEMU_UNPOISON(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define CUEMU_POISON(at, bytes) (void)(at)
#define CUEMU_UNPOISON(at, bytes) (void)(at)
#endif

namespace cuemu {

SharedMemory::~SharedMemory() {
  if (memory_ == nullptr) return;
  CUEMU_UNPOISON(memory_, kCapacity);
  std::free(memory_);
}

void SharedMemory::reset(size_t dynamic_bytes, bool is_allowed) {
  if (memory_ == nullptr) {
    memory_ = static_cast<char*>(std::aligned_alloc(1024, kCapacity));
    if (memory_ == nullptr) throw std::bad_alloc();
    used_ = kCapacity;  // all of it is new
  }
  const size_t touched = used_ > dynamic_bytes ? used_ : dynamic_bytes;
  CUEMU_UNPOISON(memory_, touched);
  std::memset(memory_, 0xFF, touched);
  CUEMU_POISON(memory_ + dynamic_bytes, touched - dynamic_bytes);
  dynamic_bytes_ = dynamic_bytes;
  most_ = is_allowed ? kMaxBytes : kMaxStaticBytes;
  static_bytes_ = 0;
  used_ = dynamic_bytes;
  variables_.clear();
}

void* SharedMemory::variable(Site site, size_t bytes, size_t align) {
  for (const Variable& known : variables_) {
    if (known.site.line != site.line || std::strcmp(known.site.file, site.file) != 0) continue;
    if (known.bytes != bytes) fail("two shared variables on one line, expected one", site);
    return memory_ + known.offset;
  }
  const size_t variables = static_bytes_ + bytes;
  const size_t before_dynamic = (variables + kDynamicAlign - 1) / kDynamicAlign * kDynamicAlign;
  if (variables > kMaxStaticBytes || (dynamic_bytes_ > 0 && before_dynamic + dynamic_bytes_ > most_)) {
    fail("too much shared memory: " + std::to_string(variables) + " bytes of variables, " +
             std::to_string(dynamic_bytes_) + " dynamic, at most " + std::to_string(most_),
         site);
  }
  static_bytes_ += bytes;
  const size_t offset = (used_ + kGap + align - 1) / align * align;
  used_ = offset + bytes;
  if (used_ > kCapacity) fail("too many shared variables", site);
  CUEMU_UNPOISON(memory_ + offset, bytes);
  variables_.push_back({site, offset, bytes});
  return memory_ + offset;
}

}  // namespace cuemu
