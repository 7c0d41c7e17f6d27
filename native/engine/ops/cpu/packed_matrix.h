/** Owns weights in the CPU's packed layout, [N / 32][K / step][32][step], and reading single rows back. */
#pragma once

#include "ops/cpu/convert.h"
#include "ops/cpu/weight_matrix.h"

namespace tessera::cpu {

class PackedMatrix final : public WeightMatrix {
 public:
  /** Of rows x cols; `kernel` and `type` say how elements lie. */
  PackedMatrix(size_t rows, size_t cols, DiskType type, const MatrixKernel& kernel);

  /** Writes a panel's 32 rows, each of this matrix's type. Several panels may come at once. */
  void pack_panel(size_t panel, const PanelRows& rows);
  /** Writes row `row` as fp32. */
  void unpack_row(size_t row, float* out) const;

  bool takes_bf16_pairs() const override { return type_ == DiskType::kBf16; }
  const char* weights_of(size_t panel) const override { return panel_start(panel); }
  size_t packed_row_bytes() const override { return steps_ * kernel_->k_step * kernel_->a_bytes; }
  void pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const override;
  void multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                char* scratch, float* sums) const override;

 private:
  char* panel_start(size_t panel) const { return start() + panel * panel_bytes_; }

  DiskType type_;
  const MatrixKernel* kernel_;
  size_t steps_;
  size_t panel_bytes_;
};

}  // namespace tessera::cpu
