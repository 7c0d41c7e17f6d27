/**
 * Owns AWQ's 4-bit weights and products with bf16 activations. A group is 32 rows x `group_cols` columns, read
 * as one stream: what its rows' codes stand for, then their codes in blocks of 64 columns. Panels lie [N / 32][K /
 * group_cols]. A weight is one of the 16 bf16 values that its row has in the group, looked up on its way in: straight
 * into the products of few rows; for more, a panel becomes the layout of every bf16 product first.
 */
#pragma once

#include "ops/cpu/weight_matrix.h"

namespace tessera::cpu {

class Int4Matrix final : public WeightMatrix {
 public:
  /** `cols` is a multiple of `format.group_cols`, so that no group crosses rows. */
  Int4Matrix(size_t rows, size_t cols, const Format4& format, const Kernels& kernels);

  size_t num_groups() const { return num_groups_; }
  /** Sets what row `row`'s codes of a group are: (code - zero) * scale, the scale being one of fp16. */
  void set_scale_and_zero(size_t row, size_t group, float scale, int zero);
  /** Writes the codes, one a byte, of a panel's 32 rows from column 64 * `block` on: codes[row * 64 + column]. */
  void set_codes(size_t panel, size_t block, const uint8_t* codes);

  bool takes_bf16_pairs() const override { return true; }
  const char* weights_of(size_t panel) const override { return group(panel, 0); }
  size_t packed_row_bytes() const override { return cols * kernels_.bf16.a_bytes; }
  void pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const override;
  size_t scratch_bytes() const override { return cols * kPanelWidth * 2; }
  void open_panel(size_t panel, size_t num_tiles, char* scratch) const override;
  void multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                char* scratch, float* sums) const override;

 private:
  char* group(size_t panel, size_t index) const {
    return start() + (panel * num_groups_ + index) * format_.group_bytes();
  }
  float* header(size_t row, size_t index) const {
    return reinterpret_cast<float*>(group(row / kPanelWidth, index)) + row % kPanelWidth;
  }

  const Kernels& kernels_;
  const Format4 format_;
  size_t num_groups_;  // of a row
};

}  // namespace tessera::cpu
