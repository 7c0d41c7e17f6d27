/** Owns laying several arrays out in one piece of memory, so that they go to the device in one copy. */
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace tessera::cuda {

/** Arrays one after the other, each at a multiple of 16 bytes: first counted, then written. */
class Packer {
 public:
  /** @return where the array begins */
  size_t add(const void* data, size_t bytes) {
    const size_t at = bytes_;
    parts_.push_back({data, at, bytes});
    bytes_ = (bytes_ + bytes + 15) / 16 * 16;
    return at;
  }
  template <class T>
  size_t add(std::span<const T> values) {
    return add(values.data(), values.size_bytes());
  }
  size_t bytes() const { return bytes_; }
  void write(char* target) const {
    for (const auto& [data, at, bytes] : parts_) {
      if (bytes > 0) std::memcpy(target + at, data, bytes);
    }
  }

 private:
  struct Part {
    const void* data;
    size_t at;
    size_t bytes;
  };
  std::vector<Part> parts_;
  size_t bytes_ = 0;
};

}  // namespace tessera::cuda
