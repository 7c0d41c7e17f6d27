#include "../bench/machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "ops/cpu/kernels.h"

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
  const auto work = [&] { pool.parallel_for(pool.num_threads(), [&](size_t, int) { loop(kTurns); }); };
  const double seconds = best_seconds(work, 0.1);
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

double best_seconds(const std::function<void()>& work, double budget) {
  double best = 1e30;
  double spent = 0;
  for (int i = 0; i < 50 && (i < 3 || spent < budget); i++) {
    const double seconds = seconds_of(work);
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

ReadTest::ReadTest(ThreadPool& pool)
    : pool_(pool), part_((512u << 20) / pool.num_threads() / 4096 * 4096),
      // Prefetches reach beyond the end.
      memory_(part_ * pool.num_threads() + 4096) {
  std::memset(memory_.data(), 1, memory_.bytes());
}

double ReadTest::gbytes() {
  constexpr int kPasses = 5;
  std::vector<void (*)(const char*, size_t)> patterns = {read_words};
  if (const PeakLoops* set = loops()) patterns = {set->read, set->read_streams};
  double best = 0;
  for (auto* pattern : patterns) {
    std::vector<double> rates;
    for (int i = 0; i < kPasses; i++) {
      const double seconds = seconds_of([&] {
        pool_.parallel_for(pool_.num_threads(), [&](size_t i, int) { pattern(memory_.as<char>() + i * part_, part_); });
      });
      rates.push_back(1e-9 * part_ * pool_.num_threads() / seconds);
    }
    std::sort(rates.begin(), rates.end());
    best = std::max(best, rates[kPasses / 2]);
  }
  return best;
}

double bf16_peak(ThreadPool& pool) { return loops() == nullptr ? 0 : peak(pool, loops()->bf16, 2.0 * 12 * 32); }

double int8_peak(ThreadPool& pool) { return loops() == nullptr ? 0 : peak(pool, loops()->int8, 2.0 * 12 * 64); }

}  // namespace tessera::bench
