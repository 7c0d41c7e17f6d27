/** Owns the proof that quantised weights are bitsandbytes' bit for bit, and that products with them are right. */
#include "ops/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/codebook_matrix.h"
#include "ops/cpu/half.h"
#include "ops/reference/reference.h"
#include "tests/check.h"
#include "tests/quant_golden.h"
#include "tests/support.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

constexpr std::pair<WeightType, const char*> kTypes[] = {
    {WeightType::kInt8, "int8"}, {WeightType::kInt8Head, "int8 head"}, {WeightType::kNf4, "nf4"}, {WeightType::kFp4, "fp4"}};

/** `weights` of tests/golden/quant/make_goldens.py. */
std::vector<float> golden_weights(uint64_t seed, size_t rows, size_t cols) {
  Random random(seed);
  std::vector<float> out(rows * cols);
  for (size_t i = 0; i < out.size(); i++) {
    const float a = random.value();
    const float b = random.value();
    const float sum = (a + b) + random.value();
    out[i] = cpu::from_f16(cpu::to_f16(std::ldexp(sum, -static_cast<int>(i / cols % 5))));
  }
  return out;
}

uint64_t fnv(const void* data, size_t size) {
  uint64_t out = 0xcbf29ce484222325u;
  for (size_t i = 0; i < size; i++) out = (out ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3u;
  return out;
}

template <class T>
uint64_t fnv(const std::vector<T>& values) {
  return fnv(values.data(), values.size() * sizeof(T));
}

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

Tensor4 quantised(WeightType type, const std::vector<float>& values) {
  const auto read = [&](size_t first, size_t count, float* out) { std::copy_n(values.begin() + first, count, out); };
  const auto each = [](size_t count, const auto& work) {
    for (size_t block = 0; block < count; block++) work(block);
  };
  return Tensor4(type, values.size(), read, each);
}

TEST(four_bit_weights_are_those_of_bitsandbytes) {
  CHECK_EQUAL(fnv(scale_map()), kGoldenScaleMap);
  for (const Golden4& golden : kGoldens4) {
    const size_t count = golden.rows * golden.cols;
    const Tensor4 tensor = quantised(golden.type, golden_weights(golden.seed, golden.rows, golden.cols));
    CHECK_EQUAL(bits_of(tensor.scales().offset), golden.offset);
    CHECK(tensor.scales().codes == golden.scale_codes);
    for (size_t i = 0; i < golden.scale_absmax.size(); i++) {
      CHECK_EQUAL(bits_of(tensor.scales().group_absmax[i]), golden.scale_absmax[i]);
    }
    std::vector<float> absmax, values;
    std::vector<uint8_t> packed;
    std::vector<uint16_t> rounded;
    for (size_t block = 0; block < golden.scale_codes.size(); block++) absmax.push_back(tensor.scale(block));
    for (size_t i = 0; i < count; i++) {
      values.push_back(tensor.value(i));
      rounded.push_back(cpu::to_bf16(values.back()));
      if (i % 2 == 0) packed.push_back(static_cast<uint8_t>(tensor.code(i) << 4 | tensor.code(i + 1)));
    }
    CHECK_EQUAL(fnv(absmax), golden.absmax);
    CHECK_EQUAL(fnv(packed), golden.packed);
    CHECK_EQUAL(fnv(values), golden.fp32);
    CHECK_EQUAL(fnv(rounded), golden.bf16);
  }
}

/** Bitsandbytes' own state, scales included, gives its values: whatever a quantiser chose. */
TEST(scales_of_bitsandbytes_dequantise_to_its_own) {
  for (const Golden4& golden : kGoldens4) {
    QuantisedScales scales;
    scales.codes = golden.scale_codes;
    std::memcpy(&scales.offset, &golden.offset, 4);
    scales.group_absmax.resize(golden.scale_absmax.size());
    std::memcpy(scales.group_absmax.data(), golden.scale_absmax.data(), 4 * golden.scale_absmax.size());
    std::vector<float> absmax;
    for (size_t i = 0; i < scales.codes.size(); i++) absmax.push_back(scales.at(i));
    CHECK_EQUAL(fnv(absmax), golden.absmax);
  }
}

bool is_4_bit(WeightType type) { return type == WeightType::kNf4 || type == WeightType::kFp4; }

/** What a weight of a matrix becomes. */
std::vector<float> stored(WeightType type, const std::vector<float>& w, size_t rows, size_t cols) {
  std::vector<float> out(w.size());
  if (is_4_bit(type)) {
    const Tensor4 tensor = quantised(type, w);
    const cpu::Codebook& book = cpu::codebook_of(type);
    for (size_t i = 0; i < w.size(); i++) {
      // Rows that are no whole blocks are held in bf16.
      out[i] = cols % kBlock4 == 0 ? book.values[tensor.code(i)] / book.unit * tensor.scale(i / kBlock4)
                                   : cpu::from_bf16(cpu::to_bf16(tensor.value(i)));
    }
    return out;
  }
  for (size_t r = 0; r < rows; r++) {
    float largest = 0;
    for (size_t c = 0; c < cols; c++) largest = std::max(largest, std::fabs(w[r * cols + c]));
    for (size_t c = 0; c < cols; c++) {
      out[r * cols + c] = std::nearbyint(w[r * cols + c] * (1.0f / largest * 127.0f)) * (largest / 127.0f);
    }
  }
  return out;
}

/** Steps of the largest magnitude below `limit`; what is not below, in bf16. */
void round_steps(const float* x, size_t count, float limit, int steps, float* out) {
  float largest = 0;
  for (size_t i = 0; i < count; i++) {
    if (std::fabs(x[i]) < limit) largest = std::max(largest, std::fabs(x[i]));
  }
  for (size_t i = 0; i < count; i++) {
    out[i] = std::fabs(x[i]) < limit ? std::nearbyint(x[i] * (1.0f / largest * steps)) * (largest / steps)
                                     : cpu::from_bf16(cpu::to_bf16(x[i]));
  }
}

/** What activations are multiplied as: LLM.int8 row by row, 16 bits a row or 64 columns, or bf16. */
std::vector<float> multiplied(WeightType type, const std::vector<float>& x, size_t cols) {
  std::vector<float> out(x.size());
  if (is_4_bit(type) && cols % kBlock4 != 0) {
    for (size_t i = 0; i < x.size(); i++) out[i] = cpu::from_bf16(cpu::to_bf16(x[i]));
  } else if (is_4_bit(type)) {
    for (size_t i = 0; i < x.size(); i += kBlock4) round_steps(&x[i], kBlock4, INFINITY, cpu::kCodebookActivation, &out[i]);
  } else {
    const bool is_head = type == WeightType::kInt8Head;
    for (size_t i = 0; i < x.size(); i += cols) {
      round_steps(&x[i], cols, is_head ? INFINITY : 6.0f, is_head ? 32767 : 127, &out[i]);
    }
  }
  return out;
}

TEST(int8_weights_are_those_of_bitsandbytes) {
  for (const Golden8& golden : kGoldens8) {
    const auto w = golden_weights(golden.seed, golden.rows, golden.cols);
    std::vector<int8_t> codes(w.size());
    std::vector<float> absmax(golden.rows);
    // One-hot rows read the matrix back: 127 * code * scale.
    for (const auto* kernels : all_kernels()) {
      cpu::CpuOps ops(Dtype::kBf16, 1, *kernels);
      const HostTensor tensor = {"w", w.data(), DiskType::kF32, golden.rows, golden.cols};
      const auto matrix = ops.load_matrix({&tensor, 1}, Join::kStacked, WeightType::kInt8);
      std::vector<float> x(golden.cols * golden.cols), y(golden.cols * golden.rows);
      for (size_t i = 0; i < golden.cols; i++) x[i * golden.cols + i] = 1;
      ops.linear({x.data(), golden.cols, golden.cols}, *matrix, {}, {y.data(), golden.cols, golden.rows});
      for (size_t r = 0; r < golden.rows; r++) {
        for (size_t c = 0; c < golden.cols; c++) absmax[r] = std::max(absmax[r], std::fabs(w[r * golden.cols + c]));
        for (size_t c = 0; c < golden.cols; c++) {
          codes[r * golden.cols + c] = static_cast<int8_t>(std::nearbyint(y[c * golden.rows + r] / absmax[r] * 127));
        }
      }
      CHECK_EQUAL(fnv(codes), golden.codes);
      CHECK_EQUAL(fnv(absmax), golden.absmax);
    }
  }
}

struct Shape {
  size_t m, n, k;
};
constexpr Shape kShapes[] = {{1, 1, 1}, {1, 33, 64}, {3, 31, 640}, {13, 70, 147}, {29, 100, 576}, {240, 65, 192}};

/** Activations in (-4, 4) with an outlier in some rows. */
std::vector<float> activations(Random& random, size_t m, size_t k) {
  auto x = random.values(m * k, 4);
  for (size_t r = 0; r < m; r += 3) x[r * k + random.below(k)] = r % 2 == 0 ? 37.5f : -6.0f;
  return x;
}

TEST(products_with_quantised_weights_agree_with_the_reference) {
  for (const auto* kernels : all_kernels()) {
    for (const auto& [type, name] : kTypes) {
      for (const auto [m, n, k] : kShapes) {
        Random random(m * 1000 + n);
        const auto x = activations(random, m, k);
        const auto w = random.values(n * k);
        const auto up = random.values(n * k);
        cpu::CpuOps ops(Dtype::kBf16, 2, *kernels);
        const HostTensor parts[] = {{"w", w.data(), DiskType::kF32, n, k}, {"up", up.data(), DiskType::kF32, n, k}};
        const Rows rows(const_cast<float*>(x.data()), m, k);
        const auto matrix = ops.load_matrix({parts, 1}, Join::kStacked, type);
        std::vector<float> y(m * n), gated(m * n);
        ops.linear(rows, *matrix, {}, {y.data(), m, n});
        const auto xs = to_reference(multiplied(type, x, k), m, k);
        auto expected = reference::product(xs, to_reference(stored(type, w, n, k), n, k));
        const double tolerance = 2e-6 * std::sqrt(static_cast<double>(k)) * 40;
        if (!(largest_difference(y, expected) <= tolerance)) {
          fail(__FILE__, __LINE__, std::string(kernels->name) + " " + name + " k " + std::to_string(k) + ": off by " +
                                       std::to_string(largest_difference(y, expected)));
        }
        const auto joined = ops.load_matrix(parts, Join::kGateUp, type);
        ops.linear_swiglu(rows, *joined, nullptr, {gated.data(), m, n});
        const auto ups = reference::product(xs, to_reference(stored(type, up, n, k), n, k));
        double largest = 1;
        for (size_t i = 0; i < expected.data.size(); i++) {
          largest = std::max({largest, std::fabs(expected.data[i]), std::fabs(ups.data[i])});
          expected.data[i] = reference::silu(expected.data[i]) * ups.data[i];
        }
        CHECK(largest_difference(gated, expected) < 3 * largest * (tolerance + 1e-6));
      }
    }
  }
}

TEST(quantised_products_give_a_row_the_same_bits_in_every_batch) {
  const size_t n = 70, k = 448, most = 300;
  for (const auto* kernels : all_kernels()) {
    for (const auto& [type, name] : kTypes) {
      Random random(11);
      const auto x = activations(random, most, k);
      const auto w = random.values(n * k);
      const HostTensor tensor = {"w", w.data(), DiskType::kF32, n, k};
      const auto run = [&](int num_threads, size_t first, size_t m) {
        cpu::CpuOps ops(Dtype::kBf16, num_threads, *kernels);
        const auto matrix = ops.load_matrix({&tensor, 1}, Join::kStacked, type);
        std::vector<float> y(m * n);
        ops.linear({const_cast<float*>(x.data()) + first * k, m, k}, *matrix, {}, {y.data(), m, n});
        return y;
      };
      const auto whole = run(1, 0, most);
      for (size_t m : {1, 2, 5, 13, 14, 15, 29, 61, 225, 299}) {
        const size_t first = random.below(most - m + 1);
        const std::vector<float> expected(whole.begin() + first * n, whole.begin() + (first + m) * n);
        if (!same_bits(run(3, first, m), expected)) fail(__FILE__, __LINE__, std::string(kernels->name) + " " + name);
      }
    }
  }
}

TEST(int8_products_without_outliers_are_the_same_bits_on_every_set) {
  const size_t m = 31, n = 45, k = 333;
  Random random(3);
  const auto x = random.values(m * k, 5.9f);
  const auto w = random.values(n * k);
  const HostTensor tensor = {"w", w.data(), DiskType::kF32, n, k};
  for (const WeightType type : {WeightType::kInt8, WeightType::kInt8Head}) {
    std::vector<float> expected;
    for (const auto* kernels : all_kernels()) {
      cpu::CpuOps ops(Dtype::kBf16, 1, *kernels);
      const auto matrix = ops.load_matrix({&tensor, 1}, Join::kStacked, type);
      std::vector<float> y(m * n);
      ops.linear({const_cast<float*>(x.data()), m, k}, *matrix, {}, {y.data(), m, n});
      if (expected.empty()) expected = y;
      CHECK(same_bits(y, expected));
    }
  }
}

/** Sums of a block are exact: at their largest they must not overflow, whatever the set adds up first. */
TEST(codebook_products_of_largest_values_do_not_overflow) {
  const size_t n = 33, k = 128;
  for (const WeightType type : {WeightType::kNf4, WeightType::kFp4}) {
    for (const float sign : {1.0f, -1.0f}) {
      const std::vector<float> w(n * k, 0.5f);
      const HostTensor tensor = {"w", w.data(), DiskType::kF32, n, k};
      for (const auto* kernels : all_kernels()) {
        cpu::CpuOps ops(Dtype::kBf16, 1, *kernels);
        const auto matrix = ops.load_matrix({&tensor, 1}, Join::kStacked, type);
        for (const size_t m : {1, 2, 8, 9, 40}) {
          std::vector<float> x(m * k, 3.0f * sign), y(m * n);
          ops.linear({x.data(), m, k}, *matrix, {}, {y.data(), m, n});
          for (float value : y) CHECK(std::fabs(value - 192.0f * sign) < 1e-3f);
        }
      }
    }
  }
}

/** What rounding to whole numbers does to a product is less than what bf16 does to it. */
TEST(codebook_products_are_closer_to_the_dequantised_weights_than_bf16_is) {
  const size_t m = 16, n = 96, k = 640;
  for (const WeightType type : {WeightType::kNf4, WeightType::kFp4}) {
    Random random(21);
    auto x = random.values(m * k);
    // As in real models: a few activations are far larger than the rest.
    for (size_t r = 0; r < m; r++) x[r * k + random.below(k)] = 120;
    const auto w = random.values(n * k);
    const Tensor4 tensor = quantised(type, w);
    std::vector<float> exact(w.size()), rounded(w.size()), bf16_x(x.size());
    for (size_t i = 0; i < w.size(); i++) {
      exact[i] = tensor.value(i);
      rounded[i] = cpu::from_bf16(cpu::to_bf16(exact[i]));
    }
    for (size_t i = 0; i < x.size(); i++) bf16_x[i] = cpu::from_bf16(cpu::to_bf16(x[i]));
    const auto expected = reference::product(to_reference(x, m, k), to_reference(exact, n, k));
    const auto in_bf16 = reference::product(to_reference(bf16_x, m, k), to_reference(rounded, n, k));
    double bf16_error = 0;
    for (size_t i = 0; i < expected.data.size(); i++) bf16_error += std::pow(in_bf16.data[i] - expected.data[i], 2);
    const HostTensor source = {"w", w.data(), DiskType::kF32, n, k};
    for (const auto* kernels : all_kernels()) {
      cpu::CpuOps ops(Dtype::kBf16, 1, *kernels);
      const auto matrix = ops.load_matrix({&source, 1}, Join::kStacked, type);
      std::vector<float> y(m * n);
      ops.linear({x.data(), m, k}, *matrix, {}, {y.data(), m, n});
      double error = 0;
      for (size_t i = 0; i < y.size(); i++) error += std::pow(y[i] - expected.data[i], 2);
      CHECK(error < bf16_error / 16);
    }
  }
}

TEST(quantised_matrices_say_what_they_take) {
  const size_t n = 64, k = 128;
  const std::vector<float> w(n * k, 0.0f);
  const HostTensor tensor = {"w", w.data(), DiskType::kF32, n, k};
  cpu::CpuOps ops(Dtype::kBf16, 1, *all_kernels()[0]);
  const auto bytes = [&](WeightType type) { return ops.load_matrix({&tensor, 1}, Join::kStacked, type)->bytes; };
  CHECK_EQUAL(bytes(WeightType::kBase), n * k * 2);
  CHECK_EQUAL(bytes(WeightType::kInt8), n * k + n * 8);
  CHECK_EQUAL(bytes(WeightType::kInt8Head), n * k + n * 8);
  CHECK_EQUAL(bytes(WeightType::kNf4), n * k / 2 + n * k / 64 * 4);
  // Zeros stay zeros, though their scale is none to divide by.
  std::vector<float> x(k, 1.0f), y(n, 1.0f);
  for (const auto& [type, name] : kTypes) {
    const auto matrix = ops.load_matrix({&tensor, 1}, Join::kStacked, type);
    ops.linear({x.data(), 1, k}, *matrix, {}, {y.data(), 1, n});
    for (float value : y) CHECK_EQUAL(value, 0.0f);
  }
}

TEST(what_is_no_number_is_refused_as_a_weight_and_seen_as_an_activation) {
  const size_t n = 3, k = 64;
  for (const float bad : {std::nanf(""), INFINITY}) {
    for (const auto* kernels : all_kernels()) {
      for (const auto& [type, name] : kTypes) {
        cpu::CpuOps ops(Dtype::kBf16, 1, *kernels);
        std::vector<float> w(n * k, 1.0f), x(2 * k, 1.0f), y(2 * n);
        const HostTensor tensor = {"w", w.data(), DiskType::kF32, n, k};
        const auto matrix = ops.load_matrix({&tensor, 1}, Join::kStacked, type);
        x[5] = bad;
        ops.linear({x.data(), 2, k}, *matrix, {}, {y.data(), 2, n});
        CHECK(!std::isfinite(y[0]) && std::isfinite(y[n]));
        w[70] = bad;
        CHECK_REFUSES("tensor w", ops.load_matrix({&tensor, 1}, Join::kStacked, type));
      }
    }
  }
}

}  // namespace
