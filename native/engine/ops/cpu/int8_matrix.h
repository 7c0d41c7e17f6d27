/**
 * Owns int8 weights, [N / 32][K / 4][32][4], with a scale a row, and products with activations quantised row by row.
 * The method is LLM.int8's: activations of magnitude 6 and more stay in 16 bits. Which ones is decided for each row
 * alone, where bitsandbytes takes a column out for the whole batch as soon as one row is large there; so here a row's
 * bits do not depend on the others.
 */
#pragma once

#include "ops/cpu/weight_matrix.h"

namespace tessera::cpu {

class Int8Matrix final : public WeightMatrix {
 public:
  Int8Matrix(size_t rows, size_t cols, const Kernels& kernels);

  /** Quantises one row of finite numbers as packed row `row`. Rows may come from several threads. */
  void pack_row(size_t row, const float* values);

  size_t packed_row_bytes() const override { return steps_ * 4 + 4; }
  void pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const override;
  void multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                char* scratch, float* sums) const override;

 private:
  size_t panel_bytes() const { return steps_ * 4 * kPanelWidth; }
  char* panel_start(size_t panel) const { return start() + panel * panel_bytes(); }
  // Behind the weights, one a packed row; rows that pad a panel have scale 0.
  float* scales() const { return reinterpret_cast<float*>(panel_start(num_panels())); }
  // 128 times the sum of a row's weights: activations are stored 128 too large.
  int32_t* corrections() const { return reinterpret_cast<int32_t*>(scales() + num_panels() * kPanelWidth); }

  const Int8Kernel* kernel_;
  size_t steps_;
};

}  // namespace tessera::cpu
