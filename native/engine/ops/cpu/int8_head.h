/**
 * Owns int8 weights, [N / 32][K / 2][32][2] with a scale a row, whose activations stay in 16 bits: the output head. Bytes
 * become bf16, which holds them exactly, and go into the products of every bf16 matrix, each sum being multiplied with
 * its row's scale. So weights are rounded and nothing else, and only half of the memory is read.
 */
#pragma once

#include "ops/cpu/weight_matrix.h"

namespace tessera::cpu {

class Int8Head final : public WeightMatrix {
 public:
  Int8Head(size_t rows, size_t cols, const Kernels& kernels);

  /** Quantises one row of finite numbers as packed row `row`. Rows may come from several threads. */
  void pack_row(size_t row, const float* values);

  bool takes_bf16_pairs() const override { return true; }
  size_t packed_row_bytes() const override { return steps_ * 2 * kernels_.bf16.a_bytes; }
  void pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const override;
  size_t scratch_bytes() const override { return panel_bytes() * 2; }
  void open_panel(size_t panel, size_t num_tiles, char* scratch) const override;
  void multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                char* scratch, float* sums) const override;

 private:
  size_t panel_bytes() const { return steps_ * 2 * kPanelWidth; }
  char* panel_start(size_t panel) const { return start() + panel * panel_bytes(); }
  float* scales() const { return reinterpret_cast<float*>(panel_start(num_panels())); }  // one a packed row

  const Kernels& kernels_;
  size_t steps_;
};

}  // namespace tessera::cpu
