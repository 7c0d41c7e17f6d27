/** Owns the arithmetic of 4-bit weights as bitsandbytes defines it: codes, block scales and how these are quantised. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "ops/ops.h"

namespace tessera {

/** Consecutive weights of a tensor, row after row, that share a scale. */
inline constexpr size_t kBlock4 = 64;

/** The 16 values of NF4 or FP4, by code. */
const float* values4(WeightType type);

/** The 256 values of the dynamic 8-bit type, in rising order. */
const std::vector<float>& scale_map();

/** The code nearest to `value` in [-1, 1]; half way between two, the lower one. */
uint8_t encode4(WeightType type, float value);

/** A whole block of finite weights to codes, one a byte; returns its largest magnitude. */
float encode_block4(WeightType type, const float* values, uint8_t* codes);

/** `each(count, work)` runs work(index) over all, in any order, possibly at once. */
using Each = std::function<void(size_t, const std::function<void(size_t)>&)>;

/** Scales of blocks, quantised a second time in groups of 256. */
struct QuantisedScales {
  std::vector<uint8_t> codes;
  std::vector<float> group_absmax;
  float offset = 0;

  /** What block `index` is multiplied with. */
  float at(size_t index) const;
};

QuantisedScales quantise_scales(const std::vector<float>& absmax, const Each& each);

/** A tensor of `count` finite weights in 4 bits. */
class Tensor4 {
 public:
  /** `read(first, count, out)` gives weights, at most a block at a time. */
  using Read = std::function<void(size_t, size_t, float*)>;

  Tensor4(WeightType type, size_t count, const Read& read, const Each& each);

  const QuantisedScales& scales() const { return scales_; }
  float scale(size_t block) const { return decoded_[block]; }
  uint8_t code(size_t index) const { return codes_[index]; }
  /** The weight as it will be multiplied, before it is rounded to 16 bits. */
  float value(size_t index) const { return values4(type_)[codes_[index]] * decoded_[index / kBlock4]; }

 private:
  WeightType type_;
  std::vector<uint8_t> codes_;   // one a byte: they live only while a matrix is packed
  QuantisedScales scales_;
  std::vector<float> decoded_;
};

}  // namespace tessera
