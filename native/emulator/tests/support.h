/** Owns what the emulator's tests share: arrays on the device and launches that must succeed. */
#pragma once

#include <cstdlib>
#include <vector>

#include "ops/cuda/gpu.h"
#include "tests/check.h"

namespace cuemu::tests {

inline void must(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::abort();
}

/** Values on the device, copied there and back without a stream. */
template <class T>
class Array {
 public:
  explicit Array(size_t size) : size_(size) { must(cudaMalloc(reinterpret_cast<void**>(&data_), size * sizeof(T))); }
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    must(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Array() { must(cudaFree(data_)); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    must(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

/** Whole numbers from 0 on. */
template <class T>
std::vector<T> count_up(size_t size) {
  std::vector<T> values(size);
  for (size_t i = 0; i < size; i++) values[i] = static_cast<T>(i);
  return values;
}

class Stream {
 public:
  Stream() { must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { must(cudaStreamDestroy(stream_)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace cuemu::tests
