#include "device/block.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>

#include "device/access.h"

namespace cuemu {

thread_local constinit Thread* current = nullptr;

namespace {

uint64_t next_random(uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/** All threads that wait at `id`, and `self` where it is the one that completes the barrier. */
void release(Block& block, int id, Thread* self) {
  std::vector<Thread*> met;
  if (self != nullptr) met.push_back(self);
  for (int i = 0; i < block.num_threads; i++) {
    Thread& thread = block.threads[i];
    if (thread.state == ThreadState::kAtBarrier && thread.barrier == id) met.push_back(&thread);
  }
  note_join(met.data(), static_cast<int>(met.size()));
  block.barriers[id].arrived = 0;
  for (Thread* thread : met) {
    if (thread != self) block.wake(*thread);
  }
}

void thread_main(void* argument) {
  Thread& thread = *static_cast<Thread*>(argument);
  thread.block->launch->body();
  thread.state = ThreadState::kDone;
  thread.fiber.yield_forever();
}

void start_threads(Block& block) {
  const dim3 size = block.launch->block;
  for (Warp& warp : block.warps) {
    warp.alive = 0;
    for (auto& group : warp.groups) group->arrived = 0;
  }
  block.ready.clear();
  for (int i = 0; i < block.num_threads; i++) {
    Thread& thread = block.threads[i];
    const auto n = static_cast<unsigned>(i);
    thread.block = &block;
    thread.linear = i;
    thread.index = {n % size.x, n / size.x % size.y, n / (size.x * size.y)};
    thread.state = ThreadState::kReady;
    thread.copies.clear();
    block.warps[i / 32].alive |= 1u << (i % 32);
    thread.fiber.prepare(thread_main, &thread);
    block.ready.push_back(i);
  }
  // The last of the list runs next.
  if (block.random == 0) std::reverse(block.ready.begin(), block.ready.end());
}

/** The thread has exited; barriers that waited for everybody no longer wait for it. */
void end_thread(Block& block, Thread& thread) {
  block.num_alive -= 1;
  block.warps[block.warp_of(thread)].alive &= ~(1u << (thread.linear % 32));
  if (thread.copies.in_flight()) {
    fail("a thread exits with cp.async in flight", {block.launch->name, 0});
  }
  for (int id = 0; id < Block::kNumBarriers; id++) {
    const Barrier& at = block.barriers[id];
    if (at.arrived > 0 && at.expected == 0 && at.arrived == block.num_alive) release(block, id, nullptr);
  }
}

[[noreturn]] void report_deadlock(const Block& block) {
  int num_told = 0;
  for (int i = 0; i < block.num_threads && num_told < 40; i++) {
    const Thread& thread = block.threads[i];
    if (thread.state == ThreadState::kDone) continue;
    const char* what = thread.state == ThreadState::kAtBarrier ? "a barrier" : "a warp collective";
    warn("thread " + std::to_string(i) + " waits in " + what + " at " + to_string(thread.site));
    num_told += 1;
  }
  fail("deadlock", {block.launch->name, 0});
}

void run_block(Block& block, uint64_t seed) {
  block.num_alive = block.num_threads;
  block.random = seed == 0 ? 0 : seed * 0x9E3779B97F4A7C15u | 1;
  for (Barrier& at : block.barriers) at = {};
  block.shared.reset(block.launch->dynamic_bytes, block.launch->allowed_dynamic_bytes > 0);
  note_block(block);
  start_threads(block);
  while (block.num_alive > 0) {
    if (block.ready.empty()) report_deadlock(block);
    const size_t pick = block.random == 0 ? block.ready.size() - 1 : next_random(block.random) % block.ready.size();
    Thread& thread = block.threads[block.ready[pick]];
    block.ready[pick] = block.ready.back();
    block.ready.pop_back();
    current = &thread;
    thread.fiber.resume();
    if (thread.state == ThreadState::kDone) end_thread(block, thread);
    current = nullptr;
  }
}

/** Runs blocks until none is left. What a block needs is kept for the next launch: stacks cost system calls. */
void run_blocks(const Launch& launch, size_t num_blocks, uint64_t seed, std::atomic<size_t>& next) {
  static thread_local Block block;
  const int num_threads = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  if (block.capacity < num_threads) {
    block.threads.reset(new Thread[num_threads]);
    block.capacity = num_threads;
  }
  block.num_threads = num_threads;
  block.launch = &launch;
  block.warps.resize((num_threads + 31) / 32);
  for (size_t taken = next++; taken < num_blocks; taken = next++) {
    // With a seed, blocks come in another order too.
    const size_t i = seed % 2 == 1 ? num_blocks - 1 - taken : taken;
    const dim3 grid = launch.grid;
    block.index = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                   static_cast<unsigned>(i / (size_t{grid.x} * grid.y))};
    run_block(block, seed == 0 ? 0 : seed + i);
  }
}

int num_os_threads([[maybe_unused]] size_t num_blocks) {
#ifdef CUEMU_RACE
  return 1;  // the detector's clocks are not shared
#else
  return static_cast<int>(std::min<size_t>(num_blocks, setting("CUEMU_THREADS", 1)));
#endif
}

}  // namespace

void Block::wake(Thread& thread) {
  thread.state = ThreadState::kReady;
  ready.push_back(thread.linear);
}

void wait_as(ThreadState state, Site site) {
  Thread& self = *current;
  self.state = state;
  self.site = site;
  self.fiber.yield();
}

void barrier(int id, int expected, Site site) {
  Thread& self = *current;
  Block& block = *self.block;
  Barrier& at = block.barriers[id];
  if (at.arrived == 0) {
    at.site = site;
    at.expected = expected;
  } else if (expected != at.expected) {
    fail("a barrier awaits other numbers of threads, others are at " + to_string(at.site), site);
  } else if (expected == 0 && (at.site.line != site.line || std::string_view(at.site.file) != site.file)) {
    fail("__syncthreads in diverged code, others are at " + to_string(at.site), site);
  }
  at.arrived += 1;
  self.barrier = id;
  if (at.arrived < (expected == 0 ? block.num_alive : expected)) {
    wait_as(ThreadState::kAtBarrier, site);
    return;
  }
  // Who comes last is not first to go on: it takes its chance with the others.
  release(block, id, &self);
  block.wake(self);
  self.fiber.yield();
}

cudaError_t check(const Launch& launch) {
  const dim3 block = launch.block;
  const dim3 grid = launch.grid;
  const size_t num_threads = size_t{block.x} * block.y * block.z;
  if (num_threads == 0 || num_threads > 1024 || block.z > 64) return cudaErrorInvalidConfiguration;
  if (size_t{grid.x} * grid.y * grid.z == 0 || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  if (launch.dynamic_bytes > SharedMemory::kMaxBytes) return cudaErrorInvalidValue;
  return cudaSuccess;
}

void run(const Launch& launch) {
  const size_t num_blocks = size_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  const auto seed = static_cast<uint64_t>(setting("CUEMU_SEED", 0));
  note_launch();
  std::atomic<size_t> next{0};
  const int num_os = num_os_threads(num_blocks);
  if (num_os <= 1) {
    run_blocks(launch, num_blocks, seed, next);
    return;
  }
  std::vector<std::thread> pool;
  for (int i = 0; i < num_os; i++) pool.emplace_back([&] { run_blocks(launch, num_blocks, seed, next); });
  for (std::thread& each : pool) each.join();
}

}  // namespace cuemu
