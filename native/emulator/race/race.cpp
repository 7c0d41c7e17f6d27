/**
 * Owns the race detector. Kernels are compiled with -fsanitize=thread but linked with the hooks below in place of its
 * runtime. An access happens before another where a barrier or __syncwarp orders their threads (vector clocks, one per
 * CUDA thread); two that nothing orders, one of them a write, are a race, however the threads happened to run. Reads of
 * memory that nobody wrote are told too. This file itself is compiled without instrumentation.
 */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "device/access.h"
#include "device/block.h"
#include "race/cells.h"

namespace cuemu {

namespace {

constexpr int kMaxReports = 5;
constexpr int kExitCode = 66;

std::map<const char*, Region> device_memory;
std::unique_ptr<Region> shared_memory;
std::vector<std::vector<uint32_t>> clocks;  // [thread][thread]
uint32_t block_serial = 0;
uint32_t first_of_launch = 1;
long num_faults = 0;

void end_program() {
  std::fprintf(stderr, "cuemu: %ld faulty accesses to bytes\n", num_faults);
  std::_Exit(kExitCode);
}

/** Once told, the program ends with its own exit code, whatever main returns. */
void report(const char* what, const char* at, const Region& region, const void* code, const Access* other) {
  if (num_faults++ == 0) std::atexit(end_program);
  if (num_faults > kMaxReports) return;
  std::fprintf(stderr, "cuemu: %s: %s memory + %zu in %s, thread %d of block %u at %p", what,
               region.is_shared ? "shared" : "device", static_cast<size_t>(at - region.begin),
               current->block->launch->name, current->linear, block_serial, code);
  if (other != nullptr) {
    std::fprintf(stderr, ", and thread %d of block %u at %p", other->thread, other->block, other->code);
  }
  std::fputc('\n', stderr);
}

Region* last_found = nullptr;  // of a device; none when memory has come or gone

Region* find(const char* at) {
  if (shared_memory != nullptr && shared_memory->holds(at)) return shared_memory.get();
  if (last_found != nullptr && last_found->holds(at)) return last_found;
  auto next = device_memory.upper_bound(at);
  if (next == device_memory.begin()) return nullptr;
  Region& region = (--next)->second;
  if (!region.holds(at)) return nullptr;
  last_found = &region;
  return last_found;
}

/** Whether nothing orders `other` before what the thread at hand does now. */
bool is_concurrent(const Access& other, const Region& region) {
  if (other.clock == 0) return false;
  if (other.block == block_serial) {
    return other.thread != current->linear && clocks[current->linear][other.thread] < other.clock;
  }
  // Other blocks of this launch run at any time; earlier launches and the host are over.
  return !region.is_shared && other.block >= first_of_launch;
}

void add_read(Cell& cell, const Access& read) {
  Access* oldest = &cell.reads[0];
  for (Access& known : cell.reads) {
    if (known.clock == 0 || (known.block == read.block && known.thread == read.thread)) {
      known = read;
      return;
    }
    if (known.block < oldest->block) oldest = &known;
  }
  if (oldest->block < read.block) *oldest = read;
}

void access(const void* memory, size_t bytes, bool is_write, const void* code) {
  if (current == nullptr) return;
  const char* begin = static_cast<const char*>(memory);
  Region* region = find(begin);
  if (region == nullptr) return;
  const auto thread = static_cast<uint16_t>(current->linear);
  const Access own = {code, clocks[thread][thread], block_serial, thread};
  for (const char* at = begin; at < begin + bytes && region->holds(at); at++) {
    Cell& cell = region->cell(at);
    if (is_concurrent(cell.write, *region)) {
      report(is_write ? "race of two writes" : "race of a read with a write", at, *region, code, &cell.write);
    }
    if (is_write) {
      for (Access& read : cell.reads) {
        if (!is_concurrent(read, *region)) continue;
        report("race of a write with a read", at, *region, code, &read);
        break;
      }
      for (Access& read : cell.reads) read = {};
      cell.write = own;
      cell.is_written = true;
      continue;
    }
    if (!cell.is_written) report("read of memory that nobody wrote", at, *region, code, nullptr);
    add_read(cell, own);
  }
}

}  // namespace

void note_read(const void* at, size_t bytes, Site) { access(at, bytes, false, __builtin_return_address(0)); }
void note_write(void* at, size_t bytes, Site) { access(at, bytes, true, __builtin_return_address(0)); }

void note_launch() { first_of_launch = block_serial + 1; }

void note_block(const Block& block) {
  block_serial += 1;
  const char* begin = block.shared.begin();
  shared_memory = std::make_unique<Region>(begin, static_cast<size_t>(block.shared.end() - begin), true);
  clocks.assign(block.num_threads, std::vector<uint32_t>(block.num_threads, 0));
  for (int i = 0; i < block.num_threads; i++) clocks[i][i] = 1;
}

void note_join(Thread* const* threads, int count) {
  if (count == 0) return;
  std::vector<uint32_t> latest = clocks[threads[0]->linear];
  for (int i = 1; i < count; i++) {
    const auto& other = clocks[threads[i]->linear];
    for (size_t k = 0; k < latest.size(); k++) latest[k] = std::max(latest[k], other[k]);
  }
  for (int i = 0; i < count; i++) {
    const int own = threads[i]->linear;
    clocks[own] = latest;
    clocks[own][own] += 1;
  }
}

void note_memory(char* at, size_t bytes, bool exists) {
  last_found = nullptr;
  if (exists) device_memory.emplace(at, Region(at, bytes, false));
  else device_memory.erase(at);
}

void note_host_write(void* memory, size_t bytes) {
  const char* begin = static_cast<const char*>(memory);
  Region* region = find(begin);
  if (region == nullptr) return;
  for (const char* at = begin; at < begin + bytes && region->holds(at); at++) {
    Cell& cell = region->cell(at);
    cell = {};
    cell.is_written = true;
  }
}

}  // namespace cuemu

// What -fsanitize=thread makes of loads and stores.
#define CALLER __builtin_return_address(0)
#define LOADS_AND_STORES(bytes)                                                                            \
  extern "C" void __tsan_read##bytes(void* at) { cuemu::access(at, bytes, false, CALLER); }                \
  extern "C" void __tsan_write##bytes(void* at) { cuemu::access(at, bytes, true, CALLER); }                \
  extern "C" void __tsan_unaligned_read##bytes(void* at) { cuemu::access(at, bytes, false, CALLER); }      \
  extern "C" void __tsan_unaligned_write##bytes(void* at) { cuemu::access(at, bytes, true, CALLER); }
LOADS_AND_STORES(1)
LOADS_AND_STORES(2)
LOADS_AND_STORES(4)
LOADS_AND_STORES(8)
LOADS_AND_STORES(16)

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_read_range(void* at, size_t bytes) { cuemu::access(at, bytes, false, CALLER); }
void __tsan_write_range(void* at, size_t bytes) { cuemu::access(at, bytes, true, CALLER); }
void* __tsan_memcpy(void* target, const void* source, size_t bytes) {
  cuemu::access(source, bytes, false, CALLER);
  cuemu::access(target, bytes, true, CALLER);
  return std::memcpy(target, source, bytes);
}
void* __tsan_memmove(void* target, const void* source, size_t bytes) {
  cuemu::access(source, bytes, false, CALLER);
  cuemu::access(target, bytes, true, CALLER);
  return std::memmove(target, source, bytes);
}
void* __tsan_memset(void* target, int value, size_t bytes) {
  cuemu::access(target, bytes, true, CALLER);
  return std::memset(target, value, bytes);
}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
}

// Atomics race with nothing; they count as writes for who asks whether memory was written.
#define ATOMICS(bits, type)                                                                                \
  extern "C" type __tsan_atomic##bits##_load(const volatile type* at, int) { return __atomic_load_n(at, 5); } \
  extern "C" void __tsan_atomic##bits##_store(volatile type* at, type value, int) { __atomic_store_n(at, value, 5); } \
  extern "C" type __tsan_atomic##bits##_exchange(volatile type* at, type value, int) {                     \
    return __atomic_exchange_n(at, value, 5);                                                              \
  }                                                                                                        \
  extern "C" type __tsan_atomic##bits##_fetch_add(volatile type* at, type value, int) {                    \
    return __atomic_fetch_add(at, value, 5);                                                               \
  }                                                                                                        \
  extern "C" type __tsan_atomic##bits##_fetch_sub(volatile type* at, type value, int) {                    \
    return __atomic_fetch_sub(at, value, 5);                                                               \
  }                                                                                                        \
  extern "C" type __tsan_atomic##bits##_fetch_or(volatile type* at, type value, int) {                     \
    return __atomic_fetch_or(at, value, 5);                                                                \
  }                                                                                                        \
  extern "C" int __tsan_atomic##bits##_compare_exchange_strong(volatile type* at, type* expected, type value, int, int) { \
    return __atomic_compare_exchange_n(at, expected, value, 0, 5, 5);                                      \
  }                                                                                                        \
  extern "C" int __tsan_atomic##bits##_compare_exchange_weak(volatile type* at, type* expected, type value, int, int) { \
    return __atomic_compare_exchange_n(at, expected, value, 0, 5, 5);                                      \
  }
ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)
