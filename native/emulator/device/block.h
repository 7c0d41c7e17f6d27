/** Owns a block of CUDA threads while it runs: who is ready, who waits where, its barriers and its shared memory. */
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "device/async_copy.h"
#include "device/fiber.h"
#include "device/report.h"
#include "device/shared_memory.h"
#include "device/warp.h"

namespace cuemu {

/** A kernel with its arguments, ready to run. */
struct Launch {
  const char* name = "";
  const void* function = nullptr;
  dim3 grid;
  dim3 block;
  size_t dynamic_bytes = 0;
  std::function<void()> body;
  /** Of dynamic shared memory, what the kernel was told that it may have; 0: it was not told. */
  size_t allowed_dynamic_bytes = 0;
};

enum class ThreadState : uint8_t { kReady, kAtBarrier, kInCollective, kDone };

struct Block;

struct Thread {
  Fiber fiber;
  Block* block = nullptr;
  uint3 index{};
  int linear = 0;
  ThreadState state = ThreadState::kDone;
  Site site;        // where it waits
  int barrier = 0;  // which barrier it waits at
  AsyncCopies copies;
};

/** One of a block's 16 hardware barriers. */
struct Barrier {
  int arrived = 0;
  int expected = 0;  // 0: every thread that has not exited
  Site site;         // of the first to arrive
};

struct Block {
  static constexpr int kNumBarriers = 16;

  const Launch* launch = nullptr;
  uint3 index{};
  int num_threads = 0;
  int num_alive = 0;
  int capacity = 0;
  std::unique_ptr<Thread[]> threads;  // [capacity]
  std::vector<Warp> warps;
  Barrier barriers[kNumBarriers];
  SharedMemory shared;
  std::vector<int> ready;
  uint64_t random = 0;  // 0: threads run in order

  void wake(Thread& thread);
  int warp_of(const Thread& thread) const { return thread.linear / 32; }
};

/** The CUDA thread that runs on this OS thread; null in host code. */
extern thread_local constinit Thread* current __attribute__((tls_model("initial-exec")));

/** Gives the processor back until somebody wakes this thread. */
void wait_as(ThreadState state, Site site);

/**
 * Waits for `expected` threads at barrier `id`, with 0 for all that have not exited. Barriers and `__syncwarp` are the
 * only order between threads: a shuffle is none, as on the device.
 */
void barrier(int id, int expected, Site site);

/** Runs all blocks of a launch, in an order drawn by CUEMU_SEED, on CUEMU_THREADS OS threads. */
void run(const Launch& launch);

/** What the device would refuse; cudaSuccess otherwise. */
cudaError_t check(const Launch& launch);

}  // namespace cuemu
