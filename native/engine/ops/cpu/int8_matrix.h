/**
 * Owns int8 weights, [N / 32][K / 4][32][4], with a scale a row, and products with activations quantised row by row:
 *   narrow, to 8 bits, as LLM.int8 does it: those of magnitude 6 and more stay in 16 bits. Which ones is decided for each
 *   row alone, where bitsandbytes takes a column out for the whole batch as soon as one row is large there; so here a
 *   row's bits do not depend on the others.
 *   wide, to 16 bits, each two bytes that are multiplied on their own: closer to fp32 than bf16 is. For the output head.
 */
#pragma once

#include "ops/cpu/weight_matrix.h"

namespace tessera::cpu {

enum class Activations8 { kNarrow, kWide };

class Int8Matrix final : public WeightMatrix {
 public:
  Int8Matrix(size_t rows, size_t cols, Activations8 activations, const Kernels& kernels);

  /** Quantises one row of finite numbers as packed row `row`. Rows may come from several threads. */
  void pack_row(size_t row, const float* values);

  const char* weights_of(size_t panel) const override { return panel_start(panel); }
  size_t packed_row_bytes() const override { return row_codes() + 4; }
  void pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const override;
  void multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                char* scratch, float* sums) const override;

 private:
  bool is_wide() const { return activations_ == Activations8::kWide; }
  /** Bytes of a row of activations. */
  size_t row_codes() const { return steps_ * (is_wide() ? 8 : 4); }
  size_t panel_bytes() const { return steps_ * 4 * kPanelWidth; }
  char* panel_start(size_t panel) const { return start() + panel * panel_bytes(); }
  // Behind the weights, one a packed row; rows that pad a panel have scale 0.
  float* scales() const { return reinterpret_cast<float*>(panel_start(num_panels())); }
  // 128 times the sum of a row's weights: activations are stored 128 too large.
  int32_t* corrections() const { return reinterpret_cast<int32_t*>(scales() + num_panels() * kPanelWidth); }

  const Activations8 activations_;
  const Int8Kernel* kernel_;
  size_t steps_;
};

}  // namespace tessera::cpu
