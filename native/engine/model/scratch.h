/** Owns device memory for activations that grows to the largest call and stays. */
#pragma once

#include "ops/ops.h"

namespace tessera {

class Scratch {
 public:
  /** Rows with undefined contents; valid until the next call on this object. */
  Rows rows(Ops& ops, size_t rows, size_t cols, Element element = Element::kF32) {
    const size_t bytes = rows * cols * element_bytes(element);
    if (buffer_.bytes < bytes) {
      buffer_ = {};
      buffer_ = ops.allocate(bytes);
    }
    return {buffer_, rows, cols, element};
  }
  /** Rows between two operations of a layer. */
  Rows activations(Ops& ops, size_t rows, size_t cols) { return this->rows(ops, rows, cols, ops.activations()); }

 private:
  Buffer buffer_;
};

}  // namespace tessera
