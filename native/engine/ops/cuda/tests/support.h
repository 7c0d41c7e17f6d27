/** Owns what the kernels' tests share: random arrays on the device, and comparison with a plain result. */
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "ops/cuda/gpu.h"
#include "ops/cuda/kernels/kernels.h"
#include "ops/reference/reference.h"
#include "tests/check.h"

namespace tessera::cuda::tests {

inline void must(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::abort();
}

/** An array on the device, with its values as the host gave them. */
template <class T>
class Array {
 public:
  explicit Array(std::vector<T> values) : values_(std::move(values)) {
    must(cudaMalloc(reinterpret_cast<void**>(&data_), values_.size() * sizeof(T)));
    must(cudaMemcpy(data_, values_.data(), values_.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  /** Values that nobody has written. */
  explicit Array(size_t size) : values_(size) {
    must(cudaMalloc(reinterpret_cast<void**>(&data_), values_.size() * sizeof(T)));
  }
  ~Array() { must(cudaFree(data_)); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() { return data_; }
  const std::vector<T>& given() const { return values_; }
  std::vector<T> read() const {
    std::vector<T> values(values_.size());
    must(cudaMemcpy(values.data(), data_, values.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  std::vector<T> values_;
  T* data_ = nullptr;
};

inline std::mt19937& random_engine() {
  static std::mt19937 engine(7);
  return engine;
}

inline std::vector<float> random_floats(size_t size, float deviation = 1) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(size);
  for (float& value : values) value = normal(random_engine());
  return values;
}

inline std::vector<bf16> random_bf16(size_t size, float deviation = 1) {
  std::vector<bf16> values;
  for (const float value : random_floats(size, deviation)) values.push_back(__float2bfloat16(value));
  return values;
}

inline double value_of(float x) { return x; }
inline double value_of(bf16 x) { return __bfloat162float(x); }

/** Largest |a - b| / (1 + |b|); a value that is no number counts as infinitely far. */
template <class T>
double distance(const std::vector<T>& a, const std::vector<double>& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); i++) {
    const double difference = std::fabs(value_of(a[i]) - b[i]) / (1 + std::fabs(b[i]));
    largest = difference > largest || std::isnan(difference) ? (std::isnan(difference) ? INFINITY : difference) : largest;
  }
  return largest;
}

/** A result in bf16: half a unit of its last place, and as much for sums in fp32. */
inline constexpr double kBf16Tolerance = 0.005;
/** Attention rounds its probabilities to bf16 as well. */
inline constexpr double kAttentionTolerance = 0.015;

}  // namespace tessera::cuda::tests

#define CHECK_NEAR(tolerance, values, expected)                                                     \
  do {                                                                                              \
    const double off = tessera::cuda::tests::distance(values, expected);                            \
    if (!(off <= (tolerance))) {                                                                    \
      tessera::tests::fail(__FILE__, __LINE__, #values " is off by " + std::to_string(off));        \
    }                                                                                               \
  } while (0)
