/**
 * Owns bringing AWQ's 4-bit weights into the CPU's layout. Published by AutoAWQ and LMDeploy (version `gemm`): 32 bits
 * hold the codes of eight outputs for one input, in the order 0, 2, 4, 6, 1, 3, 5, 7 from the lowest; a weight is
 * (code - zero) * scale in fp16.
 */
#include <cstring>

#include "ops/cpu/convert.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/int4_matrix.h"
#include "ops/cpu/joined.h"

namespace tessera::cpu {

namespace {

/** Bit at which the code of each output of eight begins. */
constexpr int kShifts[8] = {0, 16, 4, 20, 8, 24, 12, 28};

/** The code of output `row` in line `line` of [lines][rows / 8]. */
uint8_t code_at(const void* data, const HostTensor& part, size_t line, size_t row) {
  uint32_t eight;
  std::memcpy(&eight, static_cast<const char*>(data) + (line * (part.rows / 8) + row / 8) * 4, 4);
  return eight >> kShifts[row % 8] & 15;
}

float scale_at(const HostTensor& part, size_t group, size_t row) {
  return read_disk(static_cast<const char*>(part.scales), DiskType::kF16, group * part.rows + row);
}

/** Whether every weight of the scale is a number of fp16. */
bool is_usable(float scale) { return scale >= 0 && scale * 15 < 65520.0f; }

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
        if (!is_usable(scale_at(parts[i], group, row))) faults.add(i);
      }
    }
  }
  faults.refuse_any("a scale is negative, no number or beyond what fp16 holds", "one of AWQ");
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
