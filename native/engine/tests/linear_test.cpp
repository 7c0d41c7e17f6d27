/** Owns the proof that products are right on every set and type, at odd shapes, with equal bits for every M. */
#include <cmath>

#include "ops/cpu/half.h"
#include "ops/reference/reference.h"
#include "tests/check.h"
#include "tests/support.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

struct Shape {
  size_t m, n, k;
};
constexpr Shape kShapes[] = {{1, 1, 1},   {1, 33, 7},   {3, 31, 64},   {13, 70, 147}, {14, 64, 32},
                             {15, 96, 33}, {29, 100, 588}, {240, 65, 48}, {57, 5, 129}};

/** Sums of k products of values below 1: rounding of each product and of the running sum. */
double tolerance(size_t k) { return 4e-7 * std::sqrt(static_cast<double>(k)) * 4 + 1e-7; }

std::vector<float> run_linear(Ops& ops, std::vector<float> x, size_t m, const Matrix& w, const Epilogue& epilogue) {
  std::vector<float> y(m * w.rows, -99.0f);
  ops.linear({x.data(), m, w.cols}, w, epilogue, {y.data(), m, w.rows});
  return y;
}

TEST(linear_agrees_with_the_reference) {
  for (const Variant& variant : all_variants()) {
    for (const auto [m, n, k] : kShapes) {
      Random random(m * 1000 + n);
      const auto x = random.values(m * k);
      const auto w = random.values(n * k);
      auto ops = variant.open(2);
      const auto matrix = make_matrix(*ops, w, n, k);
      const auto y = run_linear(*ops, x, m, *matrix, {});
      const auto expected = reference::product(to_reference(x, m, k, [&](float v) { return variant.activation(v); }),
                                               to_reference(w, n, k, [&](float v) { return variant.weight(v); }));
      const double difference = largest_difference(y, expected);
      if (!(difference <= tolerance(k))) {
        fail(__FILE__, __LINE__, variant.name + " " + std::to_string(m) + "x" + std::to_string(n) + "x" +
                                     std::to_string(k) + ": off by " + std::to_string(difference));
      }
    }
  }
}

TEST(linear_ends_with_bias_gelu_scale_and_residual) {
  const size_t m = 17, n = 45, k = 40;
  for (const Variant& variant : all_variants()) {
    Random random(5);
    const auto x = random.values(m * k);
    const auto w = random.values(n * k);
    const auto bias = random.values(n);
    const auto scale = random.values(n);
    const auto residual = random.values(m * n);
    auto ops = variant.open();
    const auto matrix = make_matrix(*ops, w, n, k);
    auto expected = reference::product(to_reference(x, m, k, [&](float v) { return variant.activation(v); }),
                                       to_reference(w, n, k, [&](float v) { return variant.weight(v); }));
    for (size_t r = 0; r < m; r++) {
      for (size_t c = 0; c < n; c++) {
        expected.at(r, c) = residual[r * n + c] + scale[c] * reference::gelu(expected.at(r, c) + bias[c]);
      }
    }
    const auto y = run_linear(*ops, x, m, *matrix,
                              {bias.data(), Activation::kGelu, scale.data(), residual.data(), n});
    CHECK(largest_difference(y, expected) < tolerance(k) + 2e-6);
    // In place, as the residual stream is.
    std::vector<float> stream = residual;
    ops->linear({const_cast<float*>(x.data()), m, k}, *matrix,
                {bias.data(), Activation::kGelu, scale.data(), stream.data(), n}, {stream.data(), m, n});
    CHECK(same_bits(stream, y));
  }
}

TEST(swiglu_agrees_with_the_reference) {
  for (const Variant& variant : all_variants()) {
    for (const auto [m, n, k] : kShapes) {
      Random random(n);
      const auto x = random.values(m * k);
      const auto gate = random.values(n * k);
      const auto up = random.values(n * k);
      auto ops = variant.open();
      const HostTensor parts[] = {{"gate", gate.data(), DiskType::kF32, n, k}, {"up", up.data(), DiskType::kF32, n, k}};
      const auto matrix = ops->load_matrix(parts, Join::kGateUp);
      const auto bias = random.values(2 * n);
      const float* used = m % 2 == 0 ? bias.data() : nullptr;
      std::vector<float> y(m * n);
      ops->linear_swiglu({const_cast<float*>(x.data()), m, k}, *matrix, used, {y.data(), m, n});
      const auto xs = to_reference(x, m, k, [&](float v) { return variant.activation(v); });
      auto expected = reference::product(xs, to_reference(gate, n, k, [&](float v) { return variant.weight(v); }));
      auto ups = reference::product(xs, to_reference(up, n, k, [&](float v) { return variant.weight(v); }));
      for (size_t i = 0; used != nullptr && i < expected.data.size(); i++) {
        expected.data[i] += bias[i % n];
        ups.data[i] += bias[n + i % n];
      }
      double largest = 1;
      for (size_t i = 0; i < expected.data.size(); i++) {
        largest = std::max({largest, std::fabs(expected.data[i]), std::fabs(ups.data[i])});
        expected.data[i] = reference::silu(expected.data[i]) * ups.data[i];
      }
      CHECK(largest_difference(y, expected) < 3 * largest * (tolerance(k) + 1e-6));
    }
  }
}

TEST(linear_gives_a_row_the_same_bits_in_every_batch) {
  const size_t n = 70, k = 147, most = 300;
  for (const Variant& variant : all_variants()) {
    Random random(11);
    const auto x = random.values(most * k);
    const auto w = random.values(n * k);
    auto one = variant.open(1);
    auto three = variant.open(3);
    const auto matrix = make_matrix(*one, w, n, k);
    const auto matrix3 = make_matrix(*three, w, n, k);
    const auto whole = run_linear(*one, x, most, *matrix, {});
    CHECK(same_bits(run_linear(*three, x, most, *matrix3, {}), whole));
    for (size_t m : {1, 2, 3, 4, 5, 7, 11, 12, 13, 14, 15, 16, 27, 28, 29, 61, 200, 225, 299}) {
      const size_t first = random.below(most - m + 1);
      const std::vector<float> part(x.begin() + first * k, x.begin() + (first + m) * k);
      const std::vector<float> expected(whole.begin() + first * n, whole.begin() + (first + m) * n);
      CHECK(same_bits(run_linear(*three, part, m, *matrix3, {}), expected));
    }
  }
}

TEST(weights_convert_from_every_disk_type) {
  const std::vector<float> values = {0.0f, -0.0f, 1.0f, -2.5f, 0.333251953125f, 6.103515625e-05f, 5.9604644775390625e-08f,
                                     65504.0f, 1e-3f, -7.5f};
  std::vector<uint16_t> halves, shorts;
  for (float v : values) {
    halves.push_back(cpu::to_f16(v));
    shorts.push_back(cpu::to_bf16(v));
  }
  const std::vector<int32_t> ids = {0};
  const std::vector<int32_t> rows = {-1};
  for (const Variant& variant : all_variants()) {
    auto ops = variant.open();
    const std::pair<const void*, DiskType> sources[] = {
        {values.data(), DiskType::kF32}, {halves.data(), DiskType::kF16}, {shorts.data(), DiskType::kBf16}};
    for (const auto& [data, type] : sources) {
      if (variant.dtype == Dtype::kFp16 && type == DiskType::kBf16) continue;  // 65504 rounds up to 65536 in bf16
      const HostTensor tensor = {"w", data, type, 1, values.size()};
      const auto matrix = ops->load_matrix({&tensor, 1}, Join::kStacked);
      std::vector<float> out(values.size());
      ops->embed({*matrix}, {.token_ids = ids, .embedding_rows = rows}, nullptr, {out.data(), 1, out.size()});
      for (size_t i = 0; i < values.size(); i++) {
        const float disk = cpu::read_disk(static_cast<const char*>(data), type, i);
        CHECK_EQUAL(out[i], variant.weight(disk));
      }
    }
  }
}

TEST(fp16_refuses_a_weight_it_cannot_hold) {
  const std::vector<float> values = {1.0f, 70000.0f};
  for (const Variant& variant : all_variants()) {
    if (variant.dtype != Dtype::kFp16) continue;
    auto ops = variant.open();
    CHECK_REFUSES("fp16", make_matrix(*ops, values, 1, 2));
  }
}

TEST(half_precision_conversions_are_exact) {
  for (uint32_t bits = 0; bits < 0x10000; bits++) {
    const float value = cpu::from_f16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      CHECK(std::isnan(cpu::from_f16(cpu::to_f16(value))));
    } else {
      CHECK_EQUAL(cpu::to_f16(value), bits);
    }
    const float wide = cpu::from_bf16(static_cast<uint16_t>(bits));
    CHECK(std::isnan(wide) ? std::isnan(cpu::from_bf16(cpu::to_bf16(wide))) : cpu::to_bf16(wide) == bits);
  }
  CHECK_EQUAL(cpu::to_f16(1.00048828125f), 0x3c00);   // half way: to even
  CHECK_EQUAL(cpu::to_f16(1.00146484375f), 0x3c02);
  CHECK_EQUAL(cpu::to_f16(65519.0f), 0x7bff);
  CHECK_EQUAL(cpu::to_f16(65520.0f), 0x7c00);
  CHECK_EQUAL(cpu::to_f16(2.98023223876953125e-08f), 0);
  CHECK_EQUAL(cpu::to_f16(2.9802325e-08f), 1);
}

}  // namespace
