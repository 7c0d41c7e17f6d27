/** Owns the proof that the pool runs each index once, whatever its size. */
#include "runtime/thread_pool.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>

#include "tests/check.h"

namespace {

using namespace tessera;

TEST(every_index_runs_once) {
  for (int num_threads : {1, 2, 3, 8}) {
    ThreadPool pool(num_threads);
    for (size_t count : {0u, 1u, 2u, 7u, 1000u}) {
      for (int round = 0; round < 50; round++) {
        std::vector<std::atomic<int>> runs(count);
        std::atomic<bool> bad_thread = false;
        pool.parallel_for(count, [&](size_t index, int thread) {
          runs[index]++;
          if (thread < 0 || thread >= num_threads) bad_thread = true;
        });
        for (auto& run : runs) CHECK_EQUAL(run.load(), 1);
        CHECK(!bad_thread);
      }
    }
  }
}

TEST(loops_back_to_back_see_each_others_results) {
  ThreadPool pool(4);
  std::vector<int> values(64, 0);
  for (int round = 0; round < 20'000; round++) {
    pool.parallel_for(values.size(), [&](size_t index, int) { values[index]++; });
  }
  for (int value : values) CHECK_EQUAL(value, 20'000);
}

TEST(a_pool_may_be_made_and_dropped_often) {
  for (int i = 0; i < 200; i++) {
    ThreadPool pool(3);
    std::atomic<int> runs = 0;
    if (i % 2 == 0) pool.parallel_for(5, [&](size_t, int) { runs++; });
    CHECK_EQUAL(runs.load(), i % 2 == 0 ? 5 : 0);
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose own memory the limit would be for
TEST(more_threads_than_the_system_allows_are_an_error) {
  rlimit before;
  CHECK_EQUAL(getrlimit(RLIMIT_AS, &before), 0);
  constexpr rlim_t kLimit = 4ull << 30;  // room for some hundred stacks
  const rlimit low = {std::min(kLimit, before.rlim_max), before.rlim_max};
  CHECK_EQUAL(setrlimit(RLIMIT_AS, &low), 0);
  void* probe = mmap(nullptr, 2 * kLimit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (probe == MAP_FAILED) {
    CHECK_REFUSES("Cannot start 4096 threads", ThreadPool(4096));
  } else {
    munmap(probe, 2 * kLimit);  // an emulator that has no such limit
  }
  CHECK_EQUAL(setrlimit(RLIMIT_AS, &before), 0);
}
#endif

}  // namespace
