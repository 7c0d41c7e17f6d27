/** Owns bringing AWQ's 4-bit weights, as `ops/awq.h` finds them in a checkpoint, into the CPU's layout. */
#include "ops/awq.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/int4_matrix.h"
#include "ops/cpu/joined.h"

namespace tessera::cpu {

namespace {

using awq::code_at;
using awq::scale_at;

/** The tensor's weights as fp16, [rows][cols]. */
std::vector<uint16_t> expand(const HostTensor& part) {
  std::vector<uint16_t> out(part.rows * part.cols);
  for (size_t row = 0; row < part.rows; row++) {
    for (size_t col = 0; col < part.cols; col++) {
      const size_t group = col / part.group_cols;
      const int code = code_at(part.data, part, col, row) - code_at(part.zeros, part, group, row);
      out[row * part.cols + col] = to_f16(static_cast<float>(code) * scale_at(part, group, row));
    }
  }
  return out;
}

}  // namespace

std::unique_ptr<WeightMatrix> CpuOps::load_awq(std::span<const HostTensor> parts, Join join) {
  const Joined source(parts, join);
  Faults faults(parts);
  for (size_t i = 0; i < parts.size(); i++) {
    for (size_t group = 0; group < parts[i].cols / parts[i].group_cols; group++) {
      for (size_t row = 0; row < parts[i].rows; row++) {
        if (!awq::is_usable(scale_at(parts[i], group, row))) faults.add(i);
      }
    }
  }
  faults.refuse_any(awq::kUnusable, awq::kExpected);
  if (dtype_ != Dtype::kBf16) {
    std::vector<std::vector<uint16_t>> values;
    std::vector<HostTensor> expanded;
    for (const HostTensor& part : parts) {
      values.push_back(expand(part));
      expanded.push_back({part.name, values.back().data(), DiskType::kF16, part.rows, part.cols});
    }
    return load_base(expanded, join);
  }
  auto matrix = new_matrix<Int4Matrix>(parts, join, WeightType::kAwq);
  parallel(source.num_panels(), kElementCost * source.rows() * source.cols(), [&](size_t panel, int) {
    std::array<SourceRow, kPanelWidth> rows;
    for (size_t r = 0; r < kPanelWidth; r++) {
      rows[r] = source.at(panel * kPanelWidth + r);
      const auto [part, index, row] = rows[r];
      for (size_t group = 0; part != nullptr && group < matrix->num_groups(); group++) {
        matrix->set_scale_and_zero(panel * kPanelWidth + r, group, scale_at(*part, group, row),
                                   code_at(part->zeros, *part, group, row));
      }
    }
    for (size_t block = 0; block < source.cols() / kCodeBlock; block++) {
      uint8_t codes[kPanelWidth * kCodeBlock] = {};
      for (size_t col = 0; col < kCodeBlock; col++) {
        for (size_t r = 0; r < kPanelWidth; r++) {
          if (rows[r].part == nullptr) continue;
          codes[r * kCodeBlock + col] = code_at(rows[r].part->data, *rows[r].part, block * kCodeBlock + col, rows[r].row);
        }
      }
      matrix->set_codes(panel, block, codes);
    }
  });
  return matrix;
}

}  // namespace tessera::cpu
