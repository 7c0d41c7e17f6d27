#include "ops/cpu/convert.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/half.h"

namespace tessera::cpu {

namespace {

/** `convert(element)` over elements that may lie at any address. */
template <class From, class To, class Convert>
void convert_all(const char* from, size_t count, To* to, Convert&& convert) {
  for (size_t i = 0; i < count; i++) {
    From element;
    std::memcpy(&element, from + i * sizeof element, sizeof element);
    to[i] = convert(element);
  }
}

template <class Unit>
void interleave_units(const PanelRows& rows, size_t count, char* out) {
  // So many units of each row at a time that what they fill stays in the first cache.
  constexpr size_t kRun = 64 / sizeof(Unit);
  for (size_t first = 0; first < count; first += kRun) {
    const size_t last = std::min(count, first + kRun);
    for (size_t r = 0; r < kPanelWidth; r++) {
      if (rows[r] == nullptr) continue;
      for (size_t i = first; i < last; i++) {
        std::memcpy(out + (i * kPanelWidth + r) * sizeof(Unit), rows[r] + i * sizeof(Unit), sizeof(Unit));
      }
    }
  }
}

}  // namespace

void to_floats(const void* data, DiskType type, size_t first, size_t count, float* out) {
  const char* from = static_cast<const char*>(data) + first * disk_bytes(type);
  switch (type) {
    case DiskType::kF32: std::memcpy(out, from, count * 4); return;
    case DiskType::kBf16: convert_all<uint16_t>(from, count, out, from_bf16); return;
    case DiskType::kF16: convert_all<uint16_t>(from, count, out, from_f16); return;
  }
}

void from_floats(const float* values, size_t count, DiskType type, void* out) {
  switch (type) {
    case DiskType::kF32: std::memcpy(out, values, count * 4); return;
    case DiskType::kBf16:
      for (size_t i = 0; i < count; i++) static_cast<uint16_t*>(out)[i] = to_bf16(values[i]);
      return;
    case DiskType::kF16:
      for (size_t i = 0; i < count; i++) static_cast<uint16_t*>(out)[i] = to_f16(values[i]);
      return;
  }
}

float largest_magnitude(const float* values, size_t count) {
  // Magnitudes are in the order of their bits, what is no number above all: whole numbers compare without exceptions.
  int32_t largest = 0;
  for (size_t i = 0; i < count; i++) {
    int32_t bits;
    std::memcpy(&bits, values + i, 4);
    largest = std::max(largest, bits & 0x7fffffff);
  }
  largest = std::min(largest, 0x7f800000);
  float out;
  std::memcpy(&out, &largest, 4);
  return out;
}

void interleave(const PanelRows& rows, size_t count, size_t unit_bytes, void* out) {
  if (unit_bytes == 2) {
    interleave_units<uint16_t>(rows, count, static_cast<char*>(out));
  } else {
    interleave_units<uint32_t>(rows, count, static_cast<char*>(out));
  }
}

}  // namespace tessera::cpu
