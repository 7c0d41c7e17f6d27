/** Owns conversions between the 16-bit types and fp32 for code outside the kernels. */
#pragma once

#include <cstring>

#include "ops/cpu/kernels.h"
#include "ops/ops.h"

namespace tessera::cpu {

inline float from_f16(uint16_t half) {
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fff) << 13;
  float value;
  std::memcpy(&value, &magnitude, 4);
  value *= 5.192296858534828e33f;  // 2^112: moves the exponent's bias; exact, subnormals included
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (magnitude >= (0x7c00u << 13)) bits = magnitude | 0x7f800000u;
  bits |= static_cast<uint32_t>(half & 0x8000) << 16;
  std::memcpy(&value, &bits, 4);
  return value;
}

/** Round to nearest even; beyond 65,504 infinity. */
inline uint16_t to_f16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return sign | 0x7e00;
  if (bits >= 0x477ff000u) return sign | 0x7c00;  // rounds to 65,536 or more
  if (bits < 0x38800000u) {                       // below 2^-14: subnormal, in units of 2^-24
    float magnitude;
    std::memcpy(&magnitude, &bits, 4);
    magnitude += 0.5f;  // the last fraction bit of [0.5, 1) is 2^-24: the addition rounds for us
    std::memcpy(&bits, &magnitude, 4);
    return sign | static_cast<uint16_t>(bits - 0x3f000000u);
  }
  bits += 0xfffu + ((bits >> 13) & 1u);
  return sign | static_cast<uint16_t>((bits - 0x38000000u) >> 13);
}

inline size_t disk_bytes(DiskType type) { return type == DiskType::kF32 ? 4 : 2; }

/** Element `index` of an array that may lie at any address. */
inline float read_disk(const char* data, DiskType type, size_t index) {
  if (type == DiskType::kF32) {
    float value;
    std::memcpy(&value, data + index * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + index * 2, 2);
  return type == DiskType::kBf16 ? from_bf16(bits) : from_f16(bits);
}

}  // namespace tessera::cpu
