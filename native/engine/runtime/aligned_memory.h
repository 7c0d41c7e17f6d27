/** Owns memory aligned for vectors: zeroed, and in huge pages where it is large. */
#pragma once

#include <cstddef>
#include <utility>

namespace tessera {

/** One zeroed allocation on a 64-byte boundary. Large ones are mapped, so that untouched pages cost nothing. */
class AlignedMemory {
 public:
  AlignedMemory() = default;
  explicit AlignedMemory(size_t bytes);
  ~AlignedMemory();
  AlignedMemory(AlignedMemory&& other) noexcept { swap(other); }
  AlignedMemory& operator=(AlignedMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  AlignedMemory(const AlignedMemory&) = delete;
  AlignedMemory& operator=(const AlignedMemory&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  float* f32() const { return static_cast<float*>(data_); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

  /** Grows to at least `bytes`; contents are lost when it grows. */
  void reserve(size_t bytes) {
    if (bytes > bytes_) *this = AlignedMemory(bytes + bytes / 4);
  }

 private:
  void swap(AlignedMemory& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapping_, other.mapping_);
    std::swap(mapping_bytes_, other.mapping_bytes_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
  void* mapping_ = nullptr;  // set where the memory is a mapping of its own
  size_t mapping_bytes_ = 0;
};

}  // namespace tessera
