#include "ops/quantise.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace tessera {

namespace {

constexpr size_t kGroup = 256;
/** What a block of zeros is divided by. */
constexpr float kTiny = 1e-38f;

// Quantiles of the normal distribution, scaled to [-1, 1]; the numbers are the published ones.
constexpr std::array<float, 16> kNf4 = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
    -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
    0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

// Sign, two bits of exponent, one of fraction, scaled so that the largest is 1.
constexpr std::array<float, 16> kFp4 = {
    0.0f, 0.0625f / 12, 8.0f / 12, 1.0f, 4.0f / 12, 6.0f / 12, 2.0f / 12, 3.0f / 12,
    0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -6.0f / 12, -2.0f / 12, -3.0f / 12};

/** Codes in rising order of value, and the middle between each two. */
struct Ladder {
  std::array<uint8_t, 16> codes;
  std::array<float, 15> middles;

  explicit Ladder(const std::array<float, 16>& values) {
    for (uint8_t i = 0; i < 16; i++) codes[i] = i;
    std::stable_sort(codes.begin(), codes.end(), [&](uint8_t a, uint8_t b) { return values[a] < values[b]; });
    for (size_t i = 0; i < 15; i++) middles[i] = (values[codes[i]] + values[codes[i + 1]]) / 2;
  }
};

const Ladder& ladder_of(WeightType type) {
  static const Ladder nf4(kNf4);
  static const Ladder fp4(kFp4);
  return type == WeightType::kNf4 ? nf4 : fp4;
}

float clamp_to_unit(float value) { return std::clamp(value, -1.0f, 1.0f); }

/** Points from 0.1 to 1, the second half counted from the end: as the map's definition rounds them. */
float boundary(size_t index, size_t count) {
  const float step = (1.0f - 0.1f) / static_cast<float>(count - 1);
  if (index < count / 2) return static_cast<float>(0.1f + static_cast<double>(step) * static_cast<double>(index));
  return static_cast<float>(1.0 - static_cast<double>(step) * static_cast<double>(count - 1 - index));
}

std::vector<float> make_scale_map() {
  std::vector<float> map = {0.0f, 1.0f};
  for (int exponent = 0; exponent < 7; exponent++) {
    const size_t items = size_t{1} << exponent;
    const float power = static_cast<float>(std::pow(10.0, exponent - 6));
    for (size_t i = 0; i < items; i++) {
      const float value = power * ((boundary(i, items + 1) + boundary(i + 1, items + 1)) / 2.0f);
      map.push_back(value);
      map.push_back(-value);
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}

}  // namespace

const float* values4(WeightType type) { return type == WeightType::kNf4 ? kNf4.data() : kFp4.data(); }

const std::vector<float>& scale_map() {
  static const std::vector<float> map = make_scale_map();
  return map;
}

uint8_t encode4(WeightType type, float value) {
  const Ladder& ladder = ladder_of(type);
  size_t step = 0;
  for (float middle : ladder.middles) step += middle < value;  // no branches: weights are not to be foreseen
  return ladder.codes[step];
}

float QuantisedScales::at(size_t index) const {
  // Two roundings, never one: a fused multiply-add would give other bits.
  const volatile float product = scale_map()[codes[index]] * group_absmax[index / kGroup];
  return product + offset;
}

float encode_block4(WeightType type, const float* values, uint8_t* codes) {
  const Ladder& ladder = ladder_of(type);
  float largest = 0;
  for (size_t i = 0; i < kBlock4; i++) largest = std::max(largest, std::fabs(values[i]));
  const float inverse = 1.0f / std::max(largest, kTiny);
  float scaled[kBlock4];
  for (size_t i = 0; i < kBlock4; i++) scaled[i] = clamp_to_unit(values[i] * inverse);
  int32_t steps[kBlock4] = {};  // one vector after the other, so that the compiler makes them vectors
  for (float middle : ladder.middles) {
    for (size_t i = 0; i < kBlock4; i++) steps[i] += middle < scaled[i];
  }
  for (size_t i = 0; i < kBlock4; i++) codes[i] = ladder.codes[steps[i]];
  return largest;
}

QuantisedScales quantise_scales(const std::vector<float>& absmax, const Each& each) {
  QuantisedScales out;
  double sum = 0;
  for (float value : absmax) sum += value;
  out.offset = static_cast<float>(sum / static_cast<double>(absmax.size()));
  const std::vector<float>& map = scale_map();
  std::array<float, 255> middles;
  for (size_t i = 0; i < middles.size(); i++) middles[i] = (map[i] + map[i + 1]) / 2;
  const size_t num_groups = (absmax.size() + kGroup - 1) / kGroup;
  out.codes.resize(absmax.size());
  out.group_absmax.resize(num_groups);
  each(num_groups, [&](size_t group) {
    const size_t first = group * kGroup;
    const size_t last = std::min(absmax.size(), first + kGroup);
    float largest = 0;
    for (size_t i = first; i < last; i++) largest = std::max(largest, std::fabs(absmax[i] - out.offset));
    out.group_absmax[group] = largest;
    const float inverse = 1.0f / std::max(largest, kTiny);
    for (size_t i = first; i < last; i++) {
      const float value = clamp_to_unit((absmax[i] - out.offset) * inverse);
      size_t below = 0;  // middles less than the value
      for (size_t half = 128; half > 0; half /= 2) below += middles[below + half - 1] < value ? half : 0;
      out.codes[i] = static_cast<uint8_t>(below);
    }
  });
  return out;
}

Tensor4::Tensor4(WeightType type, size_t count, const Read& read, const Each& each) : type_(type), codes_(count) {
  const size_t num_blocks = (count + kBlock4 - 1) / kBlock4;
  std::vector<float> absmax(num_blocks);
  each(num_blocks, [&](size_t block) {
    const size_t first = block * kBlock4;
    const size_t last = std::min(count, first + kBlock4);
    float values[kBlock4];
    float largest = 0;
    read(first, last - first, values);
    for (size_t i = 0; i < last - first; i++) largest = std::max(largest, std::fabs(values[i]));
    absmax[block] = largest;
    const float divisor = std::max(largest, kTiny);
    const float inverse = 1.0f / divisor;
    for (size_t i = first; i < last; i++) {
      // A last block that is not whole is divided: that is how the original rounds.
      const float value = last - first < kBlock4 ? values[i - first] / divisor : values[i - first] * inverse;
      codes_[i] = encode4(type_, clamp_to_unit(value));
    }
  });
  scales_ = quantise_scales(absmax, each);
  for (size_t block = 0; block < num_blocks; block++) decoded_.push_back(scales_.at(block));
}

}  // namespace tessera
