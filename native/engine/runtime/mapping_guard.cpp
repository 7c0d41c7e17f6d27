#include "runtime/mapping_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>

namespace tessera {

namespace {

constexpr int kMaxGuards = 512;  // the largest model has 33 files

/** What the handler reads; it may neither lock nor allocate. A slot is free while `end` is 0. */
struct Slot {
  std::atomic<uintptr_t> start{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> has_failed{false};
};

Slot slots[kMaxGuards];
std::mutex slots_lock;  // among those who take and free slots
struct sigaction previous;
uintptr_t page_bytes;

void pass_on(int signal, siginfo_t* info, void* context) {
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  sigaction(SIGBUS, &previous, nullptr);  // the read is taken up again, and ends the process as it would have
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Slot& slot : slots) {
    const uintptr_t end = slot.end.load(std::memory_order_acquire);
    if (end == 0 || address >= end || address < slot.start.load(std::memory_order_relaxed)) continue;
    slot.has_failed.store(true, std::memory_order_release);
    const uintptr_t page = address / page_bytes * page_bytes;
    void* zeros = mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = error;
    if (zeros != MAP_FAILED) return;
  }
  pass_on(signal, info, context);
}

void install() {
  page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous);
}

}  // namespace

MappingGuard::MappingGuard(const void* start, size_t bytes) {
  if (bytes == 0) return;
  const std::lock_guard lock(slots_lock);
  [[maybe_unused]] static const bool is_installed = (install(), true);
  for (int i = 0; i < kMaxGuards; i++) {
    if (slots[i].end.load(std::memory_order_relaxed) != 0) continue;
    slot_ = i;
    slots[i].has_failed.store(false, std::memory_order_relaxed);
    slots[i].start.store(reinterpret_cast<uintptr_t>(start), std::memory_order_relaxed);
    slots[i].end.store(reinterpret_cast<uintptr_t>(start) + bytes, std::memory_order_release);
    return;
  }
}

MappingGuard::~MappingGuard() {
  if (slot_ < 0) return;
  const std::lock_guard lock(slots_lock);
  slots[slot_].end.store(0, std::memory_order_release);
}

bool MappingGuard::has_failed() const { return slot_ >= 0 && slots[slot_].has_failed.load(std::memory_order_acquire); }

}  // namespace tessera
