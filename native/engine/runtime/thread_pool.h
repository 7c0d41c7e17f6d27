/** Owns the engine's threads: one parallel loop at a time, each thread on a range of its own. */
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace tessera {

/**
 * A fixed set of threads. The caller of `parallel_for` works too, so a pool of n starts n - 1 threads. Each thread walks
 * its own part of the indices upwards, so that it reads memory as one stream; who is done takes from the end of another's
 * part. A loop never waits for a thread that has not begun to help: a machine with more to do than cores slows it down,
 * but no further.
 */
class ThreadPool {
 public:
  /** @throws Error where the system does not allow so many */
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  /**
   * Calls work(index, thread) once for each index in [0, count), `count` below 2^32; `thread` < num_threads(). `work`
   * must not throw.
   */
  template <class Work>
  void parallel_for(size_t count, Work&& work) {
    using Plain = std::remove_reference_t<Work>;
    run(count, [](void* w, size_t index, int thread) { (*static_cast<Plain*>(w))(index, thread); },
        const_cast<void*>(static_cast<const void*>(&work)));
  }

 private:
  /** Ends and joins all that were started. */
  void stop();
  using Call = void (*)(void* work, size_t index, int thread);

  /** What is left of a thread's part: the first index in the upper half, the one behind the last in the lower. */
  struct alignas(64) Part {
    std::atomic<uint64_t> left{0};

    bool take_first(size_t* index);
    bool take_last(size_t* index);
  };

  void run(size_t count, Call call, void* work);
  void drain(int thread);
  void worker(int thread);

  int num_threads_;
  std::vector<std::thread> threads_;
  // The loop at hand. Written by the caller while the gate is shut and empty.
  Call call_ = nullptr;
  void* work_ = nullptr;
  std::unique_ptr<Part[]> parts_;  // one a thread
  alignas(64) std::atomic<uint32_t> generation_{0};  // one more for each loop; what idle threads wait on
  alignas(64) std::atomic<uint32_t> gate_{0};        // kOpen, plus the number of threads inside
  std::atomic<bool> stop_{false};
};

}  // namespace tessera
