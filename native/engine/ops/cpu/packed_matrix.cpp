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
      panel_bytes_(steps_ * kernel.k_step * kPanelWidth * kernel.b_bytes), memory_(num_panels() * panel_bytes_) {
  bytes = memory_.bytes();
}

char* PackedMatrix::row_start(size_t row) const {
  return panel_start(row / kPanelWidth) + row % kPanelWidth * kernel_->k_step * kernel_->b_bytes;
}

void PackedMatrix::pack_row(size_t row, const HostTensor& source, size_t source_row) {
  const char* from = static_cast<const char*>(source.data) + source_row * cols * disk_bytes(source.type);
  const size_t step = kernel_->k_step;
  char* to = row_start(row);
  for (size_t col = 0; col < cols; col += step, to += kPanelWidth * step * kernel_->b_bytes) {
    const size_t count = std::min(step, cols - col);
    if (type_ == source.type) {
      std::memcpy(to, from + col * kernel_->b_bytes, count * kernel_->b_bytes);
      continue;
    }
    for (size_t i = 0; i < count; i++) write(to + i * kernel_->b_bytes, read_disk(from, source.type, col + i));
  }
}

void PackedMatrix::write(char* to, float value) const {
  if (type_ == DiskType::kF32) {
    std::memcpy(to, &value, 4);
  } else {
    const uint16_t bits = type_ == DiskType::kBf16 ? to_bf16(value) : to_f16(value);
    std::memcpy(to, &bits, 2);
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
  Ahead ahead(weights + kAhead);
  if (turn.num_tiles > 1) {
    const size_t parts = std::min(turn.num_tiles, kAheadParts);
    ahead = Ahead(panel_start(turn.next_panel) + turn.tile % parts * (panel_bytes_ / parts),
                  panel_bytes_ / steps_ / parts);
  }
  kernel_->tile(num_rows, packed, weights, steps_, sums, kPanelWidth, false, ahead);
}

void PackedMatrix::unpack_row(size_t row, float* out) const {
  const size_t step = kernel_->k_step;
  const char* from = row_start(row);
  for (size_t col = 0; col < cols; col += step, from += kPanelWidth * step * kernel_->b_bytes) {
    for (size_t i = 0; i < std::min(step, cols - col); i++) out[col + i] = read_disk(from, type_, i);
  }
}

}  // namespace tessera::cpu
