/** Owns what the machine can do at most: read bandwidth and multiply-add peaks, measured now, on all threads. */
#pragma once

#include <functional>

#include "runtime/aligned_memory.h"
#include "runtime/thread_pool.h"

namespace tessera::bench {

/** Best seconds of at least three runs, of more within `budget` seconds: the machine may be shared. */
double best_seconds(const std::function<void()>& work, double budget = 1.0);

/** Memory that no cache holds, to be read again and again. */
class ReadTest {
 public:
  explicit ReadTest(ThreadPool& pool);

  /** GB/s of reading it, each thread its own part, in the faster of two patterns; median of runs. */
  double gbytes();

 private:
  ThreadPool& pool_;
  size_t part_;  // bytes a thread
  AlignedMemory memory_;
};

/** Multiply-adds in registers, 1e9 operations a second; 0 where the processor or the build lacks the instruction. */
double bf16_peak(ThreadPool& pool);
double int8_peak(ThreadPool& pool);

/** Loops of the instruction set's own multiply-adds over 12 independent sums; null where the build lacks it. */
struct PeakLoops {
  /** `turns` times 12 x 32 multiply-adds. */
  void (*bf16)(long turns);
  /** `turns` times 12 x 64. */
  void (*int8)(long turns);
  /** One pass over [from, from + bytes), `bytes` a multiple of 1024. */
  void (*read)(const char* from, size_t bytes);
  void (*read_streams)(const char* from, size_t bytes);
};
const PeakLoops* avx512_bf16_peaks();

}  // namespace tessera::bench
