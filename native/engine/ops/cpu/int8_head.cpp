#include "ops/cpu/int8_head.h"

#include <algorithm>
#include <cmath>

namespace tessera::cpu {

namespace {

/** Pairs of columns that are expanded, then multiplied, while one tile reads a panel: 16 KB of bf16. */
constexpr size_t kStepsAtOnce = 128;

}  // namespace

Int8Head::Int8Head(size_t num_rows, size_t num_cols, const Kernels& kernels)
    : WeightMatrix(num_rows, num_cols), kernels_(kernels), steps_((num_cols + 1) / 2) {
  bytes = num_panels() * (panel_bytes() + kPanelWidth * sizeof(float));
}

void Int8Head::pack_row(size_t row, const float* values) {
  // The rounding of the other int8 weights, stored 128 too large there.
  std::vector<uint8_t> codes((cols + 3) / 4 * 4);
  bool has_outliers = false;
  scales()[row] = kernels_.int8.quantise(values, cols, INFINITY, 0, 1, codes.data(), &has_outliers);
  char* out = panel_start(row / kPanelWidth) + row % kPanelWidth * 2;
  for (size_t col = 0; col < cols; col++) {
    out[col / 2 * (2 * kPanelWidth) + col % 2] = static_cast<char>(codes[col] ^ 0x80);
  }
}

void Int8Head::pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>&) const {
  kernels_.bf16.pack(x, stride, rows, cols, packed);
}

void Int8Head::open_panel(size_t panel, size_t num_tiles, char* scratch) const {
  if (num_tiles <= 1) return;
  const char* weights = panel_start(panel);
  kernels_.int8.expand(weights, panel_bytes(), scratch, weights + kAhead);
}

void Int8Head::multiply(int rows, const char* packed, const std::vector<Outlier>&, const PanelTurn& turn,
                        char* scratch, float* sums) const {
  const MatrixKernel& kernel = kernels_.bf16;
  if (turn.num_tiles > 1) {
    kernel.tile(rows, packed, scratch, steps_, sums, kPanelWidth, false, scratch);
  } else {
    // Sums go through memory between pieces, which changes none of their bits.
    const char* weights = panel_start(turn.panel);
    for (size_t first = 0; first < steps_; first += kStepsAtOnce) {
      const size_t count = std::min(kStepsAtOnce, steps_ - first);
      const char* from = weights + first * 2 * kPanelWidth;
      kernels_.int8.expand(from, count * 2 * kPanelWidth, scratch, from + kAhead);
      kernel.tile(rows, packed + first * 2 * rows * kernel.a_bytes, scratch, count, sums, kPanelWidth, first > 0,
                  scratch);
    }
  }
  const float* scale = scales() + turn.panel * kPanelWidth;
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < kPanelWidth; c++) sums[r * kPanelWidth + c] *= scale[c];
  }
}

}  // namespace tessera::cpu
