/**
 * Owns NF4 and FP4 weights and products with bf16 activations. Weights lie in groups of 64 columns of a panel, codes
 * beside their scales, read as one stream: [N / 32][K / 64]{scales [32] fp32, codes [32 pairs of K][32]}, the even
 * column of a pair in the low half of a byte. A group becomes bf16 in the layout of every bf16 product on its way in:
 * a whole panel where many tiles use it, else a piece that stays in L1.
 */
#pragma once

#include "ops/cpu/weight_matrix.h"
#include "ops/quantise.h"
#include "runtime/aligned_memory.h"

namespace tessera::cpu {

class Int4Matrix final : public WeightMatrix {
 public:
  /** `cols` is a multiple of 64, so that no block of weights crosses rows. */
  Int4Matrix(size_t rows, size_t cols, WeightType type, const Kernels& kernels);

  /** Copies row `source_row` of a quantised tensor as packed row `row`. Rows of two panels may come at once. */
  void pack_row(size_t row, const Tensor4& source, size_t source_row);

  bool takes_bf16_pairs() const override { return true; }
  size_t packed_row_bytes() const override { return cols * kernels_.bf16.a_bytes; }
  void pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const override;
  size_t scratch_bytes() const override { return cols * kPanelWidth * 2; }
  void open_panel(size_t panel, size_t num_tiles, char* scratch) const override;
  void multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                char* scratch, float* sums) const override;

 private:
  uint8_t* group(size_t panel, size_t index) const {
    return memory_.as<uint8_t>() + (panel * num_groups_ + index) * kGroup4Bytes;
  }

  const Kernels& kernels_;
  const float* values_;
  size_t num_groups_;
  AlignedMemory memory_;
};

}  // namespace tessera::cpu
