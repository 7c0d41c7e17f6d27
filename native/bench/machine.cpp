#include "../bench/machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "ops/cpu/kernels.h"
#include "runtime/aligned_memory.h"

namespace tessera::bench {

__attribute__((weak)) const PeakLoops* avx512_bf16_peaks() { return nullptr; }

namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

const PeakLoops* loops() {
  return cpu::find_kernels("avx512_bf16") == nullptr ? nullptr : avx512_bf16_peaks();
}

double peak(ThreadPool& pool, void (*loop)(long turns), double operations_a_turn) {
  constexpr long kTurns = 1'000'000;
  const double seconds = best_seconds([&] {
    pool.parallel_for(pool.num_threads(), [&](size_t, int) { loop(kTurns); });
  });
  return 1e-9 * kTurns * operations_a_turn * pool.num_threads() / seconds;
}

/** For processors without AVX-512. */
void read_words(const char* from, size_t bytes) {
  uint64_t sums[8] = {};
  for (const char* at = from; at < from + bytes; at += 64) {
    uint64_t words[8];
    std::memcpy(words, at, 64);
    for (int i = 0; i < 8; i++) sums[i] |= words[i];
  }
  for (uint64_t sum : sums) asm volatile("" : : "r"(sum));
}

}  // namespace

double best_seconds(const std::function<void()>& work) {
  double best = 1e30;
  double spent = 0;
  for (int i = 0; i < 50 && (i < 3 || spent < 0.3); i++) {
    const double seconds = seconds_of(work);
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

double read_gbytes(ThreadPool& pool) {
  constexpr int kPasses = 9;
  const size_t part = (512u << 20) / pool.num_threads() / 4096 * 4096;
  // Prefetches reach beyond the end.
  AlignedMemory memory(part * pool.num_threads() + 4096);
  std::memset(memory.data(), 1, memory.bytes());
  std::vector<void (*)(const char*, size_t)> patterns = {read_words};
  if (const PeakLoops* set = loops()) patterns = {set->read, set->read_streams};
  double best = 0;
  for (auto* pattern : patterns) {
    std::vector<double> rates;
    for (int i = 0; i < kPasses; i++) {
      const double seconds = seconds_of([&] {
        pool.parallel_for(pool.num_threads(), [&](size_t i, int) { pattern(memory.as<char>() + i * part, part); });
      });
      rates.push_back(1e-9 * part * pool.num_threads() / seconds);
    }
    std::sort(rates.begin(), rates.end());
    best = std::max(best, rates[kPasses / 2]);
  }
  return best;
}

double bf16_peak(ThreadPool& pool) { return loops() == nullptr ? 0 : peak(pool, loops()->bf16, 2.0 * 12 * 32); }

double int8_peak(ThreadPool& pool) { return loops() == nullptr ? 0 : peak(pool, loops()->int8, 2.0 * 12 * 64); }

}  // namespace tessera::bench
