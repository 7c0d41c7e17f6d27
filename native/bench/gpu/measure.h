/** Owns how a kernel is timed: launches between two events, the median of rounds; and device arrays of numbers. */
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

/** Milliseconds of one launch: median of rounds, each of as many launches as take about a millisecond. */
inline double milliseconds(const std::function<cudaError_t()>& launch, int rounds) {
  cudaEvent_t begin, end;
  must(cudaEventCreate(&begin));
  must(cudaEventCreate(&end));
  const auto run = [&](int count) {
    must(cudaEventRecord(begin, nullptr));
    for (int i = 0; i < count; i++) must(launch());
    must(cudaEventRecord(end, nullptr));
    must(cudaEventSynchronize(end));
    float ms = 0;
    must(cudaEventElapsedTime(&ms, begin, end));
    return static_cast<double>(ms) / count;
  };
  const double first = std::max(run(1), 1e-3);
  const int count = rounds == 1 ? 1 : static_cast<int>(std::clamp(1.0 / first, 1.0, 200.0));
  std::vector<double> times;
  for (int i = 0; i < rounds; i++) times.push_back(run(count));
  std::sort(times.begin(), times.end());
  must(cudaEventDestroy(begin));
  must(cudaEventDestroy(end));
  return times[times.size() / 2];
}

/** What a kernel must move and compute. */
struct Cost {
  double bytes;
  double flops;
};

/** One line of JSON. */
inline void report(const std::string& kernel, const std::string& shape, double ms, Cost cost) {
  std::printf("{\"kernel\":\"%s\",\"shape\":\"%s\",\"ms\":%.6f,\"bytes\":%.0f,\"flops\":%.0f}\n", kernel.c_str(),
              shape.c_str(), ms, cost.bytes, cost.flops);
  std::fflush(stdout);
}

}  // namespace tessera::bench
