/** Owns what the machine can do at most: read bandwidth and multiply-add peaks, measured now, on all threads. */
#pragma once

#include <functional>

#include "runtime/thread_pool.h"

namespace tessera::bench {

/** Best seconds of several runs: the machine may be shared. */
double best_seconds(const std::function<void()>& work);

/** GB/s of reading memory that no cache holds, each thread its own part, in the faster of two patterns; median of runs. */
double read_gbytes(ThreadPool& pool);

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
