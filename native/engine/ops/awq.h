/**
 * Owns how AWQ's 4-bit weights lie in a checkpoint. Published by AutoAWQ and LMDeploy (version `gemm`): 32 bits hold the
 * codes of eight outputs for one input, in the order 0, 2, 4, 6, 1, 3, 5, 7 from the lowest; a weight is
 * (code - zero) * scale in fp16.
 */
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/cpu/half.h"
#include "ops/ops.h"

namespace tessera::awq {

/** Bit at which the code of each output of eight begins. */
inline constexpr int kShifts[8] = {0, 16, 4, 20, 8, 24, 12, 28};

/** Outputs of the whole tensor, of which the part's rows are some. */
inline size_t outputs(const HostTensor& part) { return part.stride == 0 ? part.rows : part.stride; }

/** The code of the part's row `row` in line `line` of [lines][outputs / 8]. */
inline uint8_t code_at(const void* data, const HostTensor& part, size_t line, size_t row) {
  const size_t output = part.first_row + row;
  uint32_t eight;
  std::memcpy(&eight, static_cast<const char*>(data) + (line * (outputs(part) / 8) + output / 8) * 4, 4);
  return eight >> kShifts[output % 8] & 15;
}

inline float scale_at(const HostTensor& part, size_t group, size_t row) {
  const size_t at = group * outputs(part) + part.first_row + row;
  return cpu::read_disk(static_cast<const char*>(part.scales), DiskType::kF16, at);
}

/** Whether every weight of the scale is a number of fp16. */
inline bool is_usable(float scale) { return scale >= 0 && scale * 15 < 65520.0f; }
inline constexpr const char* kUnusable = "a scale is negative, no number or beyond what fp16 holds";
inline constexpr const char* kExpected = "one of AWQ";

}  // namespace tessera::awq
