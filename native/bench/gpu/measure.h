/** Owns how a kernel is timed: launches between two events, cold and warm, medians of rounds; and device arrays of numbers. */
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/cuda/gpu.h"

namespace tessera::bench {

inline void must(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::exit(1);
}

/** Device memory, each value `at(index)`. */
template <class T>
class DeviceArray {
 public:
  DeviceArray(size_t size, const std::function<T(size_t)>& at) {
    std::vector<T> values(size);
    for (size_t i = 0; i < size; i++) values[i] = at(i);
    must(cudaMalloc(reinterpret_cast<void**>(&data_), size * sizeof(T)));
    must(cudaMemcpy(data_, values.data(), size * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() const { return data_; }

 private:
  T* data_ = nullptr;
};

/** Numbers of about [-1, 1], the same in every run. */
inline float noise(size_t i) { return static_cast<float>((i * 2654435761u >> 8) % 20011) / 10005.0f - 1; }
inline DeviceArray<float> floats(size_t size) { return {size, noise}; }
inline DeviceArray<bf16> bf16s(size_t size) {
  return {size, [](size_t i) { return __float2bfloat16(noise(i)); }};
}

/** A place in the stream whose time can be told. */
class Clock {
 public:
  Clock() { must(cudaEventCreate(&event_)); }
  ~Clock() { cudaEventDestroy(event_); }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  void start() { must(cudaEventRecord(event_, nullptr)); }
  double ms_until(Clock& end) {
    must(cudaEventSynchronize(end.event_));
    float ms = 0;
    must(cudaEventElapsedTime(&ms, event_, end.event_));
    return static_cast<double>(ms);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/** Milliseconds of one launch. */
struct Times {
  double cold;  // its data are in memory alone
  double warm;  // its data may be in the L2 cache
};

/** Of what is written between two launches: more than any L2 cache, and longer at it than the host at the next launch. */
inline constexpr size_t kFlushBytes = size_t{512} << 20;

/** Medians of rounds: one launch behind a flush of the cache, and as many in a row as take about a millisecond. */
inline Times milliseconds(const std::function<cudaError_t()>& launch, int rounds, size_t flush_bytes = kFlushBytes) {
  static char* flushed = nullptr;
  if (flushed == nullptr) must(cudaMalloc(reinterpret_cast<void**>(&flushed), flush_bytes));
  Clock begin, end;
  const auto run = [&](int count, bool is_cold) {
    if (is_cold) must(cudaMemsetAsync(flushed, 1, flush_bytes, nullptr));
    begin.start();
    for (int i = 0; i < count; i++) must(launch());
    end.start();
    return begin.ms_until(end) / count;
  };
  const auto median = [&](int count, bool is_cold) {
    std::vector<double> times;
    for (int i = 0; i < rounds; i++) times.push_back(run(count, is_cold));
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  };
  const double first = std::max(run(1, false), 1e-3);
  const int count = rounds == 1 ? 1 : static_cast<int>(std::clamp(1.0 / first, 1.0, 200.0));
  return {median(1, true), median(count, false)};
}

/** What a kernel must move and compute. */
struct Cost {
  double bytes;
  double flops;
};

/** One line of JSON. */
inline void report(const std::string& kernel, const std::string& shape, Times times, Cost cost) {
  std::printf("{\"kernel\":\"%s\",\"shape\":\"%s\",\"ms\":%.6f,\"warmMs\":%.6f,\"bytes\":%.0f,\"flops\":%.0f}\n",
              kernel.c_str(), shape.c_str(), times.cold, times.warm, cost.bytes, cost.flops);
  std::fflush(stdout);
}

}  // namespace tessera::bench
