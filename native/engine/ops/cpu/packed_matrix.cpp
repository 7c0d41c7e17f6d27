#include "ops/cpu/packed_matrix.h"

#include <cstring>
#include <vector>

#include "ops/cpu/half.h"

namespace tessera::cpu {

PackedMatrix::PackedMatrix(size_t num_rows, size_t num_cols, DiskType type, const MatrixKernel& kernel)
    : type_(type), kernel_(&kernel), steps_((num_cols + kernel.k_step - 1) / kernel.k_step),
      num_panels_((num_rows + kPanelWidth - 1) / kPanelWidth),
      panel_bytes_(steps_ * kernel.k_step * kPanelWidth * kernel.b_bytes),
      memory_(num_panels_ * panel_bytes_) {
  rows = num_rows;
  cols = num_cols;
  bytes = memory_.bytes();
}

char* PackedMatrix::element(size_t row, size_t col) const {
  const size_t step = kernel_->k_step;
  const size_t index = col / step * kPanelWidth * step + row % kPanelWidth * step + col % step;
  return memory_.as<char>() + row / kPanelWidth * panel_bytes_ + index * kernel_->b_bytes;
}

void PackedMatrix::pack_row(size_t row, const HostTensor& source, size_t source_row) {
  const char* from = static_cast<const char*>(source.data) + source_row * cols * disk_bytes(source.type);
  for (size_t col = 0; col < cols; col++) {
    char* to = element(row, col);
    if (type_ == source.type) {
      std::memcpy(to, from + col * kernel_->b_bytes, kernel_->b_bytes);
      continue;
    }
    const float value = read_disk(from, source.type, col);
    if (type_ == DiskType::kF32) {
      std::memcpy(to, &value, 4);
    } else {
      const uint16_t bits = type_ == DiskType::kBf16 ? to_bf16(value) : to_f16(value);
      std::memcpy(to, &bits, 2);
    }
  }
}

void PackedMatrix::unpack_row(size_t row, float* out) const {
  for (size_t col = 0; col < cols; col++) out[col] = read_disk(element(row, col), type_, 0);
}

}  // namespace tessera::cpu
