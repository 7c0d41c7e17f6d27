/** Owns bringing weights from a checkpoint into the CPU's layouts: as they are, or quantised on the way. */
#include <algorithm>
#include <atomic>
#include <cmath>

#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/half.h"
#include "ops/cpu/int4_matrix.h"
#include "ops/cpu/int8_matrix.h"
#include "ops/cpu/packed_matrix.h"
#include "tessera/error.h"

namespace tessera::cpu {

namespace {

/** Where row `row` of part `part` goes: `first` is the number of rows in the parts before it. */
size_t place(Join join, size_t part, size_t first, size_t row) {
  if (join == Join::kStacked) return first + row;
  // A panel of gate, then the same columns of up: their tiles are at hand together.
  return (2 * (row / kPanelWidth) + part) * kPanelWidth + row % kPanelWidth;
}

size_t joined_rows(std::span<const HostTensor> parts, Join join) {
  if (join == Join::kGateUp) return 2 * ((parts[0].rows + kPanelWidth - 1) / kPanelWidth * kPanelWidth);
  size_t rows = 0;
  for (const auto& part : parts) rows += part.rows;
  return rows;
}

float weight_of(const HostTensor& part, size_t index) {
  return read_disk(static_cast<const char*>(part.data), part.type, index);
}

bool is_not_finite(float value) { return !std::isfinite(value); }

}  // namespace

const MatrixKernel& CpuOps::weight_kernel() const {
  switch (dtype_) {
    case Dtype::kBf16: return kernels_.bf16;
    case Dtype::kFp16: return kernels_.f16;
    default: return kernels_.f32;
  }
}

template <class IsBad>
void CpuOps::refuse_where(const HostTensor& tensor, IsBad&& is_bad, const char* what, const char* expected) {
  std::atomic<bool> fits = true;
  parallel(tensor.rows, kElementCost * tensor.rows * tensor.cols, [&](size_t row, int) {
    for (size_t i = row * tensor.cols; i < (row + 1) * tensor.cols; i++) {
      if (is_bad(weight_of(tensor, i))) fits = false;
    }
  });
  if (!fits) refuse("load tensor " + tensor.name, what, expected);
}

template <class Pack>
void CpuOps::pack_rows(const HostTensor& part, Pack&& pack) {
  // A panel's worth of rows at a time: they fill the same cache lines.
  const size_t count = (part.rows + kPanelWidth - 1) / kPanelWidth;
  parallel(count, kElementCost * part.rows * part.cols, [&](size_t chunk, int) {
    const size_t last = std::min(part.rows, (chunk + 1) * kPanelWidth);
    for (size_t row = chunk * kPanelWidth; row < last; row++) pack(row);
  });
}

std::unique_ptr<Matrix> CpuOps::load_matrix(std::span<const HostTensor> parts, Join join, WeightType type) {
  const size_t rows = joined_rows(parts, join);
  switch (type) {
    case WeightType::kBase: return load_base(parts, join, rows);
    case WeightType::kInt8: return load_int8(parts, join, rows);
    default: return load_int4(parts, join, rows, type);
  }
}

std::unique_ptr<WeightMatrix> CpuOps::load_base(std::span<const HostTensor> parts, Join join, size_t rows) {
  const DiskType type = dtype_ == Dtype::kBf16 ? DiskType::kBf16
                        : dtype_ == Dtype::kFp16 ? DiskType::kF16 : DiskType::kF32;
  auto matrix = std::make_unique<PackedMatrix>(rows, parts[0].cols, type, weight_kernel());
  size_t first = 0;
  for (size_t i = 0; i < parts.size(); first += parts[i++].rows) {
    if (dtype_ == Dtype::kFp16) {
      refuse_where(parts[i], [](float value) { return std::fabs(value) >= 65520.0f; },
                   "a value rounds to infinity in fp16", "dtype bf16 or fp32");
    }
    pack_rows(parts[i], [&](size_t row) { matrix->pack_row(place(join, i, first, row), parts[i], row); });
  }
  return matrix;
}

std::unique_ptr<WeightMatrix> CpuOps::load_int8(std::span<const HostTensor> parts, Join join, size_t rows) {
  auto matrix = std::make_unique<Int8Matrix>(rows, parts[0].cols, kernels_);
  size_t first = 0;
  for (size_t i = 0; i < parts.size(); first += parts[i++].rows) {
    refuse_where(parts[i], is_not_finite, "a value is not finite", "numbers, to make them int8");
    pack_rows(parts[i], [&](size_t row) { matrix->pack_row(place(join, i, first, row), parts[i], row); });
  }
  return matrix;
}

std::unique_ptr<WeightMatrix> CpuOps::load_int4(std::span<const HostTensor> parts, Join join, size_t rows,
                                                WeightType type) {
  const size_t cols = parts[0].cols;
  // Blocks of weights that cross rows, which no published model has, are stored as what they would become.
  const bool whole_blocks = cols % kBlock4 == 0;
  std::unique_ptr<Int4Matrix> matrix;
  std::unique_ptr<PackedMatrix> expanded;
  if (whole_blocks) {
    matrix = std::make_unique<Int4Matrix>(rows, cols, type, kernels_);
  } else {
    expanded = std::make_unique<PackedMatrix>(rows, cols, DiskType::kBf16, kernels_.bf16);
  }
  size_t first = 0;
  for (size_t i = 0; i < parts.size(); first += parts[i++].rows) {
    const HostTensor& part = parts[i];
    refuse_where(part, is_not_finite, "a value is not finite", "numbers, to make them 4 bits");
    const auto read = [&](size_t begin, size_t count, float* out) {
      for (size_t index = 0; index < count; index++) out[index] = weight_of(part, begin + index);
    };
    const auto each = [&](size_t count, const auto& work) {
      parallel(count, kElementCost * part.rows * cols, [&](size_t block, int) { work(block); });
    };
    const Tensor4 tensor(type, part.rows * cols, read, each);
    if (whole_blocks) {
      pack_rows(part, [&](size_t row) { matrix->pack_row(place(join, i, first, row), tensor, row); });
      continue;
    }
    pack_rows(part, [&](size_t row) {
      std::vector<float> values(cols);
      for (size_t c = 0; c < cols; c++) values[c] = tensor.value(row * cols + c);
      expanded->pack_row(place(join, i, first, row), {part.name, values.data(), DiskType::kF32, 1, cols}, 0);
    });
  }
  if (whole_blocks) return matrix;
  return expanded;
}

}  // namespace tessera::cpu
