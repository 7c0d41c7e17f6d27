/** Owns weights in the CPU's packed layout, [N / 32][K / step][32][step], and reading single rows back. */
#pragma once

#include "ops/cpu/kernels.h"
#include "ops/ops.h"
#include "runtime/aligned_memory.h"

namespace tessera::cpu {

class PackedMatrix final : public Matrix {
 public:
  /** Room for rows x cols; `kernel` and `type` say how elements lie. */
  PackedMatrix(size_t rows, size_t cols, DiskType type, const MatrixKernel& kernel);

  /** Writes one row of `source` as packed row `row`, converting to this matrix's type. */
  void pack_row(size_t row, const HostTensor& source, size_t source_row);
  /** Writes row `row` as fp32. */
  void unpack_row(size_t row, float* out) const;

  size_t num_panels() const { return num_panels_; }
  size_t steps() const { return steps_; }
  const char* panel(size_t index) const { return memory_.as<char>() + index * panel_bytes_; }
  const MatrixKernel& kernel() const { return *kernel_; }

 private:
  char* row_start(size_t row) const;
  void write(char* to, float value) const;

  DiskType type_;
  const MatrixKernel* kernel_;
  size_t steps_;
  size_t num_panels_;
  size_t panel_bytes_;
  AlignedMemory memory_;
};

}  // namespace tessera::cpu
