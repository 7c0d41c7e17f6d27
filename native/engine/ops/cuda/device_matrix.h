/** Owns weights in device memory: bf16, row-major, parts of a joined matrix one after the other; or in few bits. */
#pragma once

#include <cuda_bf16.h>

#include "ops/ops.h"

namespace tessera::cuda {

class QuantisedMatrix;

class DeviceMatrix : public Matrix {
 public:
  DeviceMatrix(Buffer memory, size_t num_rows, size_t num_cols) : memory_(std::move(memory)) {
    rows = num_rows;
    cols = num_cols;
    bytes = num_rows * num_cols * sizeof(__nv_bfloat16);
  }
  const __nv_bfloat16* data() const { return static_cast<const __nv_bfloat16*>(memory_.memory.get()); }
  /** Itself, where weights are in few bits and `data` is not bf16; else null. */
  virtual const QuantisedMatrix* quantised() const { return nullptr; }

 private:
  Buffer memory_;
};

}  // namespace tessera::cuda
