/** Owns the engine's threads: one parallel loop at a time over a shared index. */
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace tessera {

/** CPUs this process may use: affinity and the container's quota, at least 1. */
int available_cpus();

/**
 * A fixed set of threads. The caller of `parallel_for` works too, so a pool of n starts n - 1 threads. A loop never
 * waits for a thread that has not begun to help: a machine with more to do than cores slows it down, but no further.
 */
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  /** Calls work(index, thread) once for each index in [0, count); `thread` < num_threads(). `work` must not throw. */
  template <class Work>
  void parallel_for(size_t count, Work&& work) {
    using Plain = std::remove_reference_t<Work>;
    run(count, [](void* w, size_t index, int thread) { (*static_cast<Plain*>(w))(index, thread); },
        const_cast<void*>(static_cast<const void*>(&work)));
  }

 private:
  using Call = void (*)(void* work, size_t index, int thread);

  void run(size_t count, Call call, void* work);
  void drain(int thread);
  void worker(int thread);

  int num_threads_;
  std::vector<std::thread> threads_;
  // The loop at hand. Written by the caller while the gate is shut and empty.
  Call call_ = nullptr;
  void* work_ = nullptr;
  size_t count_ = 0;
  alignas(64) std::atomic<size_t> next_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};  // one more for each loop; what idle threads wait on
  alignas(64) std::atomic<uint32_t> gate_{0};        // kOpen, plus the number of threads inside
  std::atomic<bool> stop_{false};
};

}  // namespace tessera
