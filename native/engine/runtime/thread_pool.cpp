#include "runtime/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>

#include "tessera/error.h"

namespace tessera {

namespace {

constexpr uint32_t kOpen = 1u << 31;
constexpr uint64_t kLast = 0xffffffffu;
// About 20 microseconds: the gap between two loops of one step is shorter.
constexpr int kSpins = 1000;
// The gap between two steps is shorter, an idle engine is silent after it. To be woken takes a thread up to 100.
constexpr std::chrono::microseconds kAwake{500};

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

bool ThreadPool::Part::take_first(size_t* index) {
  uint64_t now = left.load(std::memory_order_relaxed);
  do {
    if (now >> 32 >= (now & kLast)) return false;
  } while (!left.compare_exchange_weak(now, now + (kLast + 1), std::memory_order_relaxed));
  *index = now >> 32;
  return true;
}

bool ThreadPool::Part::take_last(size_t* index) {
  uint64_t now = left.load(std::memory_order_relaxed);
  do {
    if (now >> 32 >= (now & kLast)) return false;
  } while (!left.compare_exchange_weak(now, now - 1, std::memory_order_relaxed));
  *index = (now & kLast) - 1;
  return true;
}

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(std::max(1, num_threads)), parts_(std::make_unique<Part[]>(num_threads_)) {
  try {
    for (int thread = 1; thread < num_threads_; thread++) {
      threads_.emplace_back([this, thread] { worker(thread); });
    }
  } catch (const std::system_error& error) {  // a limit on processes or memory
    const std::string started = std::to_string(threads_.size() + 1);
    stop();
    refuse("start " + std::to_string(num_threads_) + " threads", error.code().message() + " after " + started,
           "fewer, or a higher limit");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stop_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::drain(int thread) {
  size_t index;
  while (parts_[thread].take_first(&index)) call_(work_, index, thread);
  for (int i = 1; i < num_threads_; i++) {
    Part& other = parts_[(thread + i) % num_threads_];
    while (other.take_last(&index)) call_(work_, index, thread);
  }
}

void ThreadPool::run(size_t count, Call call, void* work) {
  if (num_threads_ == 1 || count <= 1) {
    for (size_t index = 0; index < count; index++) call(work, index, 0);
    return;
  }
  call_ = call;
  work_ = work;
  for (int i = 0; i < num_threads_; i++) {
    const uint64_t first = count * i / num_threads_;
    const uint64_t last = count * (i + 1) / num_threads_;
    parts_[i].left.store(first << 32 | last, std::memory_order_relaxed);
  }
  gate_.store(kOpen, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  drain(0);
  uint32_t inside = gate_.fetch_and(~kOpen) & ~kOpen;
  for (int spin = 0; inside != 0; inside = gate_.load(std::memory_order_acquire)) {
    if (++spin < kSpins) {
      pause();
    } else {
      gate_.wait(inside, std::memory_order_acquire);
    }
  }
}

void ThreadPool::worker(int thread) {
  using Clock = std::chrono::steady_clock;
  uint32_t seen = 0;
  while (true) {
    Clock::time_point end;
    uint32_t now = generation_.load(std::memory_order_acquire);
    for (int spin = 0; now == seen; now = generation_.load(std::memory_order_acquire)) {
      if (spin < kSpins) {
        pause();
        if (++spin == kSpins) end = Clock::now() + kAwake;
      } else if (Clock::now() < end) {
        std::this_thread::yield();
      } else {
        generation_.wait(seen, std::memory_order_acquire);
      }
    }
    seen = now;
    if (stop_.load()) return;
    uint32_t gate = gate_.load(std::memory_order_acquire);
    while ((gate & kOpen) != 0 && !gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) {
    }
    if ((gate & kOpen) == 0) continue;
    drain(thread);
    if (gate_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.notify_one();
  }
}

}  // namespace tessera
