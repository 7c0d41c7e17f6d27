#include "ops/cpu/int8_matrix.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/half.h"
#include "tessera/error.h"

namespace tessera::cpu {

namespace {

/** Activations of this magnitude and more are multiplied in 16 bits. */
constexpr float kOutlier = 6.0f;
/** Columns whose products, each at most 255 * 127, surely fit in 32 bits. */
constexpr size_t kMaxCols = 65536;

}  // namespace

Int8Matrix::Int8Matrix(size_t num_rows, size_t num_cols, Activations8 activations, const Kernels& kernels)
    : WeightMatrix(num_rows, num_cols), activations_(activations), kernel_(&kernels.int8), steps_((num_cols + 3) / 4) {
  if (num_cols > kMaxCols) refuse("load weights as int8", std::to_string(num_cols) + " columns", "at most 65536");
  bytes = num_panels() * (panel_bytes() + kPanelWidth * (sizeof(float) + sizeof(int32_t)));
}

void Int8Matrix::pack_row(size_t row, const float* values) {
  // The kernel's rounding of activations is bitsandbytes' of weights too; only they are stored 128 too large.
  auto* panel = reinterpret_cast<uint32_t*>(panel_start(row / kPanelWidth));
  const int lane = static_cast<int>(row % kPanelWidth);
  scales()[row] = kernel_->quantise(values, cols, lane, kPanelWidth, panel);
  int32_t sum = 0;
  for (size_t step = 0; step < steps_; step++) {
    uint32_t& four = panel[step * kPanelWidth + lane];
    four ^= 0x80808080u;
    for (int i = 0; i < 4; i++) sum += static_cast<int8_t>(four >> (8 * i));
  }
  corrections()[row] = 128 * sum;
}

void Int8Matrix::pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const {
  float* scales = reinterpret_cast<float*>(packed + row_codes() * rows);
  if (is_wide()) {
    for (int r = 0; r < rows; r++) scales[r] = kernel_->quantise_wide(x + r * stride, cols, r, rows, packed);
    return;
  }
  bool has_outliers[kMaxRows];
  kernel_->quantise_tile(x, stride, rows, cols, kOutlier, packed, scales, has_outliers);
  for (int r = 0; r < rows; r++) {
    const float* row = x + r * stride;
    for (size_t i = 0; has_outliers[r] && i < cols; i++) {
      // A NaN is one too: it must reach the result.
      if (!(std::fabs(row[i]) < kOutlier)) outliers.push_back({r, i, from_bf16(to_bf16(row[i]))});
    }
  }
}

void Int8Matrix::multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                          char*, float* sums) const {
  const float* row_scales = reinterpret_cast<const float*>(packed + row_codes() * rows);
  const char* weights = panel_start(turn.panel);
  const size_t first = turn.panel * kPanelWidth;
  const char* next = rows <= kStreamRows && !is_mapped() ? nullptr : weights + kAhead;
  const auto tile = is_wide() ? kernel_->tile_wide : kernel_->tile;
  tile(rows, packed, weights, steps_, row_scales, scales() + first, corrections() + first, sums, next);
  for (const Outlier& outlier : outliers) {
    kernel_->add_column(weights, outlier.col, outlier.value, scales() + first, sums + outlier.row * kPanelWidth);
  }
}

}  // namespace tessera::cpu
