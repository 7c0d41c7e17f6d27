/**
 * Owns 4-bit weights whose codes stand for the values of a codebook times a scale for 64 columns (NF4, FP4), and products
 * with them. Panels lie [N / 32][K / 64]: 32 scales, then a block of codes, read as one stream. For the products both
 * sides are whole numbers of 16 bits: the codebook's 16 values in steps of 1 / 4096 or less (FP4's exactly), a row's 64
 * activations in steps of a 8191th of their largest. That is ten times closer on either side than bf16 is.
 */
#pragma once

#include "ops/cpu/weight_matrix.h"

namespace tessera::cpu {

/** Of NF4 or FP4. */
const Codebook& codebook_of(WeightType type);

class CodebookMatrix final : public WeightMatrix {
 public:
  /** `cols` is a multiple of 64, so that no block crosses rows. */
  CodebookMatrix(size_t rows, size_t cols, WeightType type, const Kernels& kernels);

  /** Sets what row `row` multiplies the values of block `block` with. */
  void set_scale(size_t row, size_t block, float scale);
  /** Writes the codes, one a byte, of a panel's 32 rows from column 64 * `block` on: codes[row * 64 + column]. */
  void set_codes(size_t panel, size_t block, const uint8_t* codes);

  const char* weights_of(size_t panel) const override { return block_start(panel, 0); }
  size_t packed_row_bytes() const override { return num_blocks_ * kActivationBlockBytes; }
  void pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const override;
  size_t scratch_bytes() const override { return num_blocks_ * kExpandedBlockBytes; }
  void open_panel(size_t panel, size_t num_tiles, char* scratch) const override;
  void multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                char* scratch, float* sums) const override;

 private:
  char* block_start(size_t panel, size_t block) const {
    return start() + (panel * num_blocks_ + block) * kCodebookBlockBytes;
  }

  const CodebookKernel& kernel_;
  const Codebook& codebook_;
  size_t num_blocks_;  // of a row
};

}  // namespace tessera::cpu
