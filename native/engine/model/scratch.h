/** Owns device memory for activations that grows to the largest call and stays. */
#pragma once

#include "ops/ops.h"

namespace tessera {

class Scratch {
 public:
  /** Rows with undefined contents; valid until the next call on this object. */
  Rows rows(Ops& ops, size_t rows, size_t cols) {
    if (buffer_.bytes < rows * cols * 4) {
      buffer_ = {};
      buffer_ = ops.allocate(rows * cols * 4);
    }
    return {buffer_.f32(), rows, cols};
  }

 private:
  Buffer buffer_;
};

}  // namespace tessera
