#include "ops/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/half.h"

namespace tessera::cpu {

namespace {
/** Products over which the way of the next panel into cache is spread. */
constexpr size_t kAheadParts = 4;
}  // namespace

PackedMatrix::PackedMatrix(size_t num_rows, size_t num_cols, DiskType type, const MatrixKernel& kernel)
    : WeightMatrix(num_rows, num_cols), type_(type), kernel_(&kernel),
      steps_((num_cols + kernel.k_step - 1) / kernel.k_step),
      panel_bytes_(steps_ * kernel.k_step * kPanelWidth * kernel.b_bytes) {
  bytes = num_panels() * panel_bytes_;
}

void PackedMatrix::pack_panel(size_t panel, const PanelRows& panel_rows) {
  const size_t step = kernel_->k_step;
  char* to = panel_start(panel);
  const size_t whole = cols / step;
  interleave(panel_rows, whole, step * kernel_->b_bytes, to);
  if (whole == steps_) return;
  // The last column of an odd number has no other half: that stays zero.
  to += whole * step * kernel_->b_bytes * kPanelWidth;
  for (size_t r = 0; r < kPanelWidth; r++, to += step * kernel_->b_bytes) {
    if (panel_rows[r] == nullptr) continue;
    std::memcpy(to, panel_rows[r] + whole * step * kernel_->b_bytes, (cols - whole * step) * kernel_->b_bytes);
  }
}

void PackedMatrix::pack(const float* x, size_t stride, int num_rows, char* packed, std::vector<Outlier>&) const {
  kernel_->pack(x, stride, num_rows, cols, packed);
}

void PackedMatrix::multiply(int num_rows, const char* packed, const std::vector<Outlier>&, const PanelTurn& turn,
                            char*, float* sums) const {
  // One tile reads weights as a stream. Of several, the first brings them into cache for the rest; while these compute,
  // the next panel comes in.
  const char* weights = panel_start(turn.panel);
  Ahead ahead(num_rows <= kStreamRows && !is_mapped() ? nullptr : weights + kAhead);
  if (turn.num_tiles > 1) {
    const size_t parts = std::min(turn.num_tiles, kAheadParts);
    ahead = Ahead(panel_start(turn.next_panel) + turn.tile % parts * (panel_bytes_ / parts),
                  panel_bytes_ / steps_ / parts);
  }
  kernel_->tile(num_rows, packed, weights, steps_, sums, kPanelWidth, false, ahead);
}

void PackedMatrix::unpack_row(size_t row, float* out) const {
  const size_t step = kernel_->k_step;
  const char* from = panel_start(row / kPanelWidth) + row % kPanelWidth * step * kernel_->b_bytes;
  for (size_t col = 0; col < cols; col += step, from += kPanelWidth * step * kernel_->b_bytes) {
    for (size_t i = 0; i < std::min(step, cols - col); i++) out[col + i] = read_disk(from, type_, i);
  }
}

}  // namespace tessera::cpu
