/** Owns bringing weights from a checkpoint into the CPU's layouts: as they are, or quantised on the way. */
#include <algorithm>
#include <cmath>

#include "ops/cpu/codebook_matrix.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/half.h"
#include "ops/cpu/int4_matrix.h"
#include "ops/cpu/int8_matrix.h"
#include "ops/cpu/joined.h"
#include "ops/cpu/packed_matrix.h"
#include "ops/quantise.h"
#include "tessera/error.h"

namespace tessera::cpu {

namespace {

/** The largest magnitude among numbers; what is none does not count. */
float largest_number(const float* values, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; i++) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

}  // namespace

const MatrixKernel& CpuOps::weight_kernel() const {
  switch (dtype_) {
    case Dtype::kBf16: return kernels_.bf16;
    case Dtype::kFp16: return kernels_.f16;
    default: return kernels_.f32;
  }
}

DiskType CpuOps::weight_disk_type() const {
  return dtype_ == Dtype::kBf16 ? DiskType::kBf16 : dtype_ == Dtype::kFp16 ? DiskType::kF16 : DiskType::kF32;
}

std::unique_ptr<WeightMatrix> CpuOps::make_matrix(std::span<const HostTensor> parts, Join join,
                                                  WeightType type) const {
  const Joined source(parts, join);
  const size_t rows = source.rows(), cols = source.cols();
  switch (type) {
    case WeightType::kInt8: return std::make_unique<Int8Matrix>(rows, cols, Activations8::kNarrow, kernels_);
    case WeightType::kInt8Head: return std::make_unique<Int8Matrix>(rows, cols, Activations8::kWide, kernels_);
    case WeightType::kNf4:
    case WeightType::kFp4:
      if (cols % kBlock4 == 0) return std::make_unique<CodebookMatrix>(rows, cols, type, kernels_);
      break;
    case WeightType::kAwq:
      if (dtype_ == Dtype::kBf16) return std::make_unique<Int4Matrix>(rows, cols, Format4{parts[0].group_cols}, kernels_);
      break;
    case WeightType::kFp8:
    case WeightType::kBase: break;
  }
  return std::make_unique<PackedMatrix>(rows, cols, weight_disk_type(), weight_kernel());
}

std::unique_ptr<Matrix> CpuOps::attach_matrix(std::span<const HostTensor> parts, Join join, WeightType type,
                                              std::shared_ptr<const char> packed, size_t num_bytes) {
  auto matrix = make_matrix(parts, join, type);
  if (matrix->bytes != num_bytes) return nullptr;
  matrix->rest_on(std::move(packed));
  return matrix;
}

std::unique_ptr<Matrix> CpuOps::load_matrix(std::span<const HostTensor> parts, Join join, WeightType type) {
  switch (type) {
    case WeightType::kBase: return load_base(parts, join);
    case WeightType::kInt8:
    case WeightType::kInt8Head: return load_int8(parts, join, type);
    case WeightType::kAwq: return load_awq(parts, join);
    case WeightType::kFp8: refuse("load tensor " + parts[0].name, "the CPU has no products of FP8", "dtype int8");
    default: return load_int4(parts, join, type);
  }
}

std::unique_ptr<WeightMatrix> CpuOps::load_base(std::span<const HostTensor> parts, Join join) {
  const DiskType type = weight_disk_type();
  const Joined source(parts, join);
  const size_t cols = source.cols();
  const size_t row_bytes = cols * disk_bytes(type);
  auto matrix = new_matrix<PackedMatrix>(parts, join, WeightType::kBase);
  Faults faults(parts);
  parallel(source.num_panels(), kElementCost * source.rows() * cols, [&](size_t panel, int) {
    PanelRows rows = {};
    std::vector<float> values;
    std::vector<char> converted;
    for (size_t r = 0; r < kPanelWidth; r++) {
      const SourceRow from = source.at(panel * kPanelWidth + r);
      if (from.part == nullptr) continue;
      rows[r] = from.data();
      if (from.part->type == type && type != DiskType::kF16) continue;
      values.resize(cols);
      converted.resize(kPanelWidth * row_bytes);
      to_floats(from.data(), from.part->type, 0, cols, values.data());
      if (type == DiskType::kF16 && largest_number(values.data(), cols) >= 65520.0f) faults.add(from.index);
      from_floats(values.data(), cols, type, converted.data() + r * row_bytes);
      rows[r] = converted.data() + r * row_bytes;
    }
    matrix->pack_panel(panel, rows);
  });
  faults.refuse_any("a value rounds to infinity in fp16", "dtype bf16 or fp32");
  return matrix;
}

std::unique_ptr<WeightMatrix> CpuOps::load_int8(std::span<const HostTensor> parts, Join join, WeightType type) {
  const Joined source(parts, join);
  const size_t cols = source.cols();
  auto matrix = new_matrix<Int8Matrix>(parts, join, type);
  Faults faults(parts);
  parallel(source.num_panels(), kElementCost * source.rows() * cols, [&](size_t panel, int) {
    std::vector<float> values(cols);
    for (size_t r = panel * kPanelWidth; r < (panel + 1) * kPanelWidth; r++) {
      const SourceRow from = source.at(r);
      if (from.part == nullptr) continue;
      to_floats(from.data(), from.part->type, 0, cols, values.data());
      if (std::isinf(largest_magnitude(values.data(), cols))) {
        faults.add(from.index);
      } else {
        matrix->pack_row(r, values.data());
      }
    }
  });
  faults.refuse_any("a value is not finite", "numbers, to make them int8");
  return matrix;
}

std::unique_ptr<WeightMatrix> CpuOps::load_int4(std::span<const HostTensor> parts, Join join, WeightType type) {
  const Joined source(parts, join);
  const size_t cols = source.cols();
  if (cols % kBlock4 != 0) return load_expanded4(parts, join, type);
  static_assert(kBlock4 == kCodeBlock);
  const size_t num_blocks = cols / kBlock4;
  auto matrix = new_matrix<CodebookMatrix>(parts, join, type);
  std::vector<std::vector<float>> absmax;  // of each tensor's blocks
  for (const auto& part : parts) absmax.emplace_back(part.rows * num_blocks);
  Faults faults(parts);
  const double cost = kElementCost * source.rows() * cols;
  parallel(source.num_panels(), cost, [&](size_t panel, int) {
    for (size_t block = 0; block < num_blocks; block++) {
      uint8_t codes[kPanelWidth * kBlock4] = {};
      for (size_t r = 0; r < kPanelWidth; r++) {
        const SourceRow from = source.at(panel * kPanelWidth + r);
        if (from.part == nullptr) continue;
        float values[kBlock4];
        to_floats(from.data(), from.part->type, block * kBlock4, kBlock4, values);
        if (std::isinf(largest_magnitude(values, kBlock4))) {
          faults.add(from.index);
          continue;
        }
        absmax[from.index][from.row * num_blocks + block] = encode_block4(type, values, codes + r * kBlock4);
      }
      matrix->set_codes(panel, block, codes);
    }
  });
  faults.refuse_any("a value is not finite", "numbers, to make them 4 bits");
  std::vector<QuantisedScales> scales;
  for (const auto& values : absmax) {
    scales.push_back(quantise_scales(values, [&](size_t count, const auto& work) {
      parallel(count, cost / kBlock4, [&](size_t index, int) { work(index); });
    }));
  }
  parallel(source.num_panels(), cost / kBlock4, [&](size_t panel, int) {
    for (size_t r = panel * kPanelWidth; r < (panel + 1) * kPanelWidth; r++) {
      const SourceRow from = source.at(r);
      if (from.part == nullptr) continue;
      for (size_t b = 0; b < num_blocks; b++) {
        matrix->set_scale(r, b, scales[from.index].at(from.row * num_blocks + b));
      }
    }
  });
  return matrix;
}

/** Blocks of weights that cross rows, which no published model has, are stored as what they would become. */
std::unique_ptr<WeightMatrix> CpuOps::load_expanded4(std::span<const HostTensor> parts, Join join, WeightType type) {
  std::vector<std::vector<float>> expanded;
  std::vector<HostTensor> tensors;
  for (const HostTensor& part : parts) {
    const size_t count = part.rows * part.cols;
    std::vector<float> values(count);
    for (size_t row = 0; row < part.rows; row++) {
      to_floats(part.data, part.type, row * part.row_stride(), part.cols, values.data() + row * part.cols);
    }
    if (std::isinf(largest_magnitude(values.data(), count))) {
      refuse("load tensor " + part.name, "a value is not finite", "numbers, to make them 4 bits");
    }
    const auto read = [&](size_t first, size_t n, float* out) { std::copy_n(values.data() + first, n, out); };
    const auto each = [&](size_t n, const auto& work) {
      parallel(n, kElementCost * count, [&](size_t block, int) { work(block); });
    };
    const Tensor4 tensor(type, count, read, each);
    for (size_t i = 0; i < count; i++) values[i] = tensor.value(i);
    expanded.push_back(std::move(values));
    tensors.push_back({part.name, expanded.back().data(), DiskType::kF32, part.rows, part.cols});
  }
  return load_base(tensors, join);
}

}  // namespace tessera::cpu
