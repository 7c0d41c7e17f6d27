/** Owns tests of products with weights in few bits, against plain sums over what the codes stand for. */
#include <cuda_fp16.h>

#include "ops/cuda/tests/support.h"
#include "ops/quantise.h"

using namespace tessera::cuda;
using namespace tessera::cuda::tests;
using tessera::WeightType;

namespace {

/** Sums of a few hundred products in fp32. */
constexpr double kSumTolerance = 1e-4;

double as_bf16(double x) { return value_of(__float2bfloat16(static_cast<float>(x))); }

/** Weights on the device in codes, and what they stand for. */
struct Coded {
  CodedMatrix matrix;
  std::vector<double> values;  // [n][k], as bf16 holds them
  std::unique_ptr<Array<uint8_t>> codes, zeros;
  std::unique_ptr<Array<float>> scales, table;
  std::vector<float> row_scales;  // that sums are multiplied with; empty: none

  void place(std::vector<uint8_t> code_bytes, std::vector<float> scale_values, std::vector<uint8_t> zero_bytes = {0}) {
    codes.reset(new Array<uint8_t>(std::move(code_bytes)));
    scales.reset(new Array<float>(std::move(scale_values)));
    zeros.reset(new Array<uint8_t>(std::move(zero_bytes)));
    matrix.codes = codes->data();
    matrix.scales = scales->data();
    matrix.zeros = zeros->data();
  }
};

std::vector<uint8_t> packed(const std::vector<uint8_t>& codes) {
  std::vector<uint8_t> bytes(codes.size() / 2);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(codes[i * 2] | codes[i * 2 + 1] << 4);
  return bytes;
}

/** Quantised as the engine quantises when it loads. */
Coded bitsandbytes(WeightType type, int n, int k) {
  Coded out;
  out.matrix = {.kind = CodedMatrix::Kind::kTable4, .n = n, .k = k};
  out.table.reset(new Array<float>(std::vector<float>(tessera::values4(type), tessera::values4(type) + 16)));
  out.matrix.values = out.table->data();
  const std::vector<float> weights = random_floats(static_cast<size_t>(n) * k, 0.05f);
  const tessera::Tensor4 tensor(
      type, weights.size(), [&](size_t first, size_t count, float* to) { std::copy_n(&weights[first], count, to); },
      [](size_t count, const std::function<void(size_t)>& work) {
        for (size_t i = 0; i < count; i++) work(i);
      });
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  for (size_t i = 0; i < weights.size(); i++) {
    codes.push_back(tensor.code(i));
    out.values.push_back(as_bf16(tensor.value(i)));
    if (i % tessera::kBlock4 == 0) scales.push_back(tensor.scale(i / tessera::kBlock4));
  }
  out.place(packed(codes), scales);
  return out;
}

Coded awq(int n, int k, int group_cols) {
  Coded out;
  out.matrix = {.kind = CodedMatrix::Kind::kAwq4, .n = n, .k = k, .group_cols = group_cols};
  std::vector<uint8_t> codes, zeros;
  std::vector<float> scales;
  for (int row = 0; row < n; row++) {
    for (int col = 0; col < k; col++) {
      if (col % group_cols == 0) {
        zeros.push_back(static_cast<uint8_t>(random_engine()() % 16));
        scales.push_back(__half2float(__float2half(0.001f + static_cast<float>(random_engine()() % 100) / 3000)));
      }
      codes.push_back(static_cast<uint8_t>(random_engine()() % 16));
      const auto whole = static_cast<float>(codes.back() - zeros.back());
      out.values.push_back(as_bf16(__half2float(__float2half(whole * scales.back()))));
    }
  }
  out.place(packed(codes), scales, zeros);
  return out;
}

/** Weights in int8 whose rows' sums are scaled: as in the head. */
Coded int8_head(int n, int k) {
  Coded out;
  out.matrix = {.kind = CodedMatrix::Kind::kInt8, .n = n, .k = k};
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  for (int row = 0; row < n; row++) {
    scales.push_back(0.0003f * static_cast<float>(1 + row % 6));
    for (int col = 0; col < k; col++) {
      codes.push_back(static_cast<uint8_t>(random_engine()()));
      out.values.push_back(static_cast<int8_t>(codes.back()));
    }
  }
  out.place(codes, scales);
  out.row_scales = scales;
  return out;
}

/** What E4M3's bits stand for: 4 bits of exponent around 7, 3 of fraction. */
double e4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

Coded fp8(int n, int k) {
  Coded out;
  out.matrix = {.kind = CodedMatrix::Kind::kFp8, .n = n, .k = k};
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  for (int row = 0; row < n; row++) {
    scales.push_back(0.0002f * static_cast<float>(1 + row % 5));
    for (int col = 0; col < k; col++) {
      auto code = static_cast<uint8_t>(random_engine()());
      if ((code & 0x7F) == 0x7F) code ^= 1;  // no NaN
      codes.push_back(code);
      out.values.push_back(as_bf16(static_cast<float>(e4m3(code)) * scales.back()));
    }
  }
  out.place(codes, scales);
  return out;
}

/** y (+)= x w^T (+ bias) of every sort of target, and all weights expanded; of many weights the fp32 target alone. */
void check_coded(const Coded& weights, int batch) {
  const int n = weights.matrix.n, k = weights.matrix.k;
  const size_t x_stride = k + 8, y_stride = n + 3;
  Array<bf16> x(random_bf16(batch * x_stride));
  Array<float> bias(random_floats(n));
  std::vector<double> product(batch * y_stride, 0), expected;
  for (int b = 0; b < batch; b++) {
    for (int row = 0; row < n; row++) {
      double& sum = product[b * y_stride + row];
      for (int col = 0; col < k; col++) {
        sum += value_of(x.given()[b * x_stride + col]) * weights.values[static_cast<size_t>(row) * k + col];
      }
      if (!weights.row_scales.empty()) sum *= weights.row_scales[row];
    }
  }
  const bool are_many = n > 2000;
  for (const bool is_float : {false, true}) {
    if (are_many && !is_float) continue;
    Array<bf16> narrow(random_bf16(batch * y_stride));
    Array<float> wide(random_floats(batch * y_stride));
    void* y = is_float ? static_cast<void*>(wide.data()) : narrow.data();
    must(multiply_coded(weights.matrix, x.data(), x_stride, batch,
                        {y, y_stride, is_float, is_float, is_float ? bias.data() : nullptr}, nullptr));
    expected.clear();
    for (size_t i = 0; i < product.size(); i++) {
      const size_t col = i % y_stride;
      const double before = is_float ? wide.given()[i] : value_of(narrow.given()[i]);
      const bool is_between = col >= static_cast<size_t>(n);
      expected.push_back(is_between ? before : is_float ? before + product[i] + bias.given()[col] : product[i]);
    }
    if (is_float) CHECK_NEAR(kSumTolerance, wide.read(), expected);
    else CHECK_NEAR(kBf16Tolerance, narrow.read(), expected);
  }
  if (are_many) return;
  Array<bf16> expanded(static_cast<size_t>(n) * k);
  must(expand_coded(weights.matrix, expanded.data(), nullptr));
  CHECK_NEAR(0, expanded.read(), weights.values);
}

/** Rows of activations in 8 bits on the device. */
struct DeviceInt8 {
  DeviceInt8(int rows, int k)
      : codes(static_cast<size_t>(rows) * k), scales(rows), num_outliers(rows),
        outliers(static_cast<size_t>(rows) * kMaxOutliers) {}
  Int8Rows rows() { return {codes.data(), scales.data(), num_outliers.data(), outliers.data()}; }

  Array<int8_t> codes;
  Array<float> scales;
  Array<int32_t> num_outliers, outliers;
};

void check_int8(int rows, int n, int k, int num_large) {
  const size_t x_stride = k + 16, y_stride = n + 1;
  std::vector<bf16> activations = random_bf16(rows * x_stride);
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < num_large; i++) {
      const float large = 6.0f + static_cast<float>(i % 9);
      activations[r * x_stride + (i * 13 + r) % k] = __float2bfloat16(i % 2 == 0 ? large : -large);
    }
  }
  if (rows > 2) std::fill_n(activations.begin() + 2 * x_stride, k, __float2bfloat16(0));
  Array<bf16> x(activations);
  std::vector<int8_t> weight_codes(static_cast<size_t>(n) * k);
  for (int8_t& code : weight_codes) code = static_cast<int8_t>(random_engine()() % 255 - 127);
  std::vector<float> weight_scales;
  for (int i = 0; i < n; i++) weight_scales.push_back(0.0005f * static_cast<float>(1 + i % 7));
  Array<int8_t> device_codes(weight_codes);
  Array<float> device_scales(weight_scales), bias(random_floats(n));
  const Int8Matrix w = {device_codes.data(), device_scales.data(), n, k};

  DeviceInt8 coded(rows, k);
  must(quantise_rows(x.data(), x_stride, rows, k, coded.rows(), nullptr));
  std::vector<double> codes, scales, product(rows * y_stride, 0);
  std::vector<int32_t> sums(static_cast<size_t>(rows) * n, 0);
  for (int r = 0; r < rows; r++) {
    float largest = 0;
    for (int i = 0; i < k; i++) {
      const auto value = static_cast<float>(value_of(activations[r * x_stride + i]));
      if (std::fabs(value) < 6) largest = std::max(largest, std::fabs(value));
    }
    const float factor = largest > 1e-30f ? 1.0f / largest * 127.0f : 0.0f;
    scales.push_back(factor > 0 ? largest / 127.0f : 0.0f);
    for (int i = 0; i < k; i++) {
      const auto value = static_cast<float>(value_of(activations[r * x_stride + i]));
      const bool is_large = !(std::fabs(value) < 6);
      codes.push_back(is_large ? 0 : std::nearbyint(value * factor));
      for (int row = 0; row < n; row++) {
        const int weight = weight_codes[static_cast<size_t>(row) * k + i];
        sums[static_cast<size_t>(r) * n + row] += static_cast<int>(codes.back()) * weight;
        product[r * y_stride + row] += (is_large ? value : codes.back() * scales[r]) * weight * static_cast<double>(weight_scales[row]);
      }
    }
    for (int row = 0; row < n; row++) product[r * y_stride + row] += bias.given()[row];
  }
  std::vector<float> got_codes;
  for (const int8_t code : coded.codes.read()) got_codes.push_back(code);
  CHECK_NEAR(0, got_codes, codes);
  CHECK_NEAR(1e-7, coded.scales.read(), scales);

  Array<int32_t> device_sums(sums);
  for (const bool is_finished : {false, true}) {
    if (!is_finished && rows > kMaxCodedRows) continue;
    Array<float> y(std::vector<float>(rows * y_stride, 0.0f));
    const ProductTarget target = {y.data(), y_stride, true, false, bias.data()};
    if (is_finished) must(finish_int8(device_sums.data(), w, x.data(), x_stride, coded.rows(), rows, target, nullptr));
    else must(multiply_int8(w, x.data(), x_stride, coded.rows(), rows, target, nullptr));
    CHECK_NEAR(kSumTolerance, y.read(), product);
  }
}

}  // namespace

TEST(products_of_4_bit_weights) {
  check_coded(bitsandbytes(WeightType::kNf4, 37, 64), 1);
  check_coded(bitsandbytes(WeightType::kFp4, 5, 1088), 3);
  check_coded(bitsandbytes(WeightType::kNf4, 18, 192), 8);
}

TEST(products_of_awq_weights) {
  check_coded(awq(7, 128, 128), 1);
  check_coded(awq(33, 384, 64), 4);
  check_coded(awq(6, 1280, 128), 7);
}

TEST(products_of_fp8_weights) {
  check_coded(fp8(11, 64), 2);
  check_coded(fp8(34, 576), 5);
}

TEST(products_of_8_bit_weights_alone) {
  check_coded(int8_head(13, 64), 1);
  check_coded(int8_head(21, 1088), 6);
}

TEST(sums_of_expanded_weights_are_scaled) {
  const int rows = 3, n = 300, stride = 305;
  Array<float> y(random_floats(rows * stride)), scales(random_floats(n));
  must(scale_sums(y.data(), stride, rows, n, scales.data(), nullptr));
  std::vector<double> expected;
  for (int i = 0; i < rows * stride; i++) {
    const float before = y.given()[i];
    expected.push_back(i % stride < n ? before * scales.given()[i % stride] : before);
  }
  CHECK_NEAR(0, y.read(), expected);
}

TEST(activations_in_fp8) {
  const int k = 2080;
  for (const int rows : {1, 5}) {
    const size_t stride = k + 8;
    std::vector<bf16> values = random_bf16(rows * stride);
    for (int i = 0; i < k; i++) values[i] = __float2bfloat16(value_of(values[i]) * 30);
    if (rows > 1) std::fill_n(values.begin() + stride, k, __float2bfloat16(0));
    Array<bf16> x(values);
    double overall = 0;
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < k; i++) overall = std::max(overall, std::fabs(value_of(values[r * stride + i])));
    }
    for (const bool is_together : {false, true}) {
      Array<uint8_t> codes(static_cast<size_t>(rows) * k);
      Array<float> scales(rows), largest(rows);
      const Fp8Rows out = {codes.data(), scales.data()};
      if (is_together) must(quantise_fp8_together(x.data(), stride, rows, k, largest.data(), out, nullptr));
      else must(quantise_fp8_rows(x.data(), stride, rows, k, out, nullptr));
      std::vector<double> expected_codes, expected_scales;
      std::vector<float> got, got_scales = scales.read();
      for (int r = 0; r < rows; r++) {
        double most = is_together ? overall : 0;
        for (int i = 0; i < k; i++) most = std::max(most, std::fabs(value_of(values[r * stride + i])));
        expected_scales.push_back(static_cast<float>(most) / 448.0f);
        const float factor = most > 0 ? 448.0f / static_cast<float>(most) : 0;
        for (int i = 0; i < k; i++) {
          const float value = static_cast<float>(value_of(values[r * stride + i])) * factor;
          // The nearest of all codes, the even one half way.
          int best = 0;
          for (int code = 0; code < 127; code++) {
            const double off = std::fabs(e4m3(static_cast<uint8_t>(code)) - std::fabs(value));
            const double least = std::fabs(e4m3(static_cast<uint8_t>(best)) - std::fabs(value));
            if (off < least || (off == least && code % 2 == 0)) best = code;
          }
          expected_codes.push_back(std::signbit(value) ? -e4m3(static_cast<uint8_t>(best)) : e4m3(static_cast<uint8_t>(best)));
        }
      }
      for (const uint8_t code : codes.read()) got.push_back(static_cast<float>(e4m3(code)));
      CHECK_NEAR(0, got, expected_codes);
      if (is_together) got_scales.resize(1), expected_scales.resize(1);
      CHECK_NEAR(0, got_scales, expected_scales);
    }
  }
}

TEST(what_is_not_finite_is_no_number_in_fp8_and_scales_no_other) {
  std::vector<bf16> values = random_bf16(3 * 64);
  values[70] = __float2bfloat16(INFINITY), values[5] = __float2bfloat16(NAN);
  Array<bf16> x(values);
  Array<uint8_t> codes(3 * 64);
  Array<float> scales(3), largest(3);
  for (const bool is_together : {false, true}) {
    if (is_together) must(quantise_fp8_together(x.data(), 64, 3, 64, largest.data(), {codes.data(), scales.data()}, nullptr));
    else must(quantise_fp8_rows(x.data(), 64, 3, 64, {codes.data(), scales.data()}, nullptr));
    const std::vector<uint8_t> got = codes.read();
    for (size_t i = 0; i < got.size(); i++) CHECK_EQUAL((got[i] & 0x7F) == 0x7F, i == 70 || i == 5);
    CHECK(scales.read()[0] > 0 && scales.read()[0] < 1);
  }
}

TEST(products_of_so_many_rows_that_a_warp_takes_four) {
  check_coded(bitsandbytes(WeightType::kNf4, 2051, 64), 2);
  check_coded(int8_head(2051, 64), 2);
}

TEST(products_of_8_bit_weights_and_activations) {
  check_int8(1, 37, 64, 0);
  check_int8(3, 10, 528, 5);
  check_int8(8, 6, 1040, 40);
  check_int8(9, 131, 48, 2);
}

TEST(rows_with_more_large_values_than_there_is_room_for) { check_int8(2, 5, 1024, 400); }

TEST(a_value_that_is_no_number_reaches_the_product) {
  std::vector<bf16> row = random_bf16(64);
  row[40] = __float2bfloat16(NAN);
  Array<bf16> x(row);
  Array<int8_t> codes(std::vector<int8_t>(64 * 2, 3));
  Array<float> scales(std::vector<float>{1, 1}), y(2);
  DeviceInt8 coded(1, 64);
  must(quantise_rows(x.data(), 64, 1, 64, coded.rows(), nullptr));
  must(multiply_int8({codes.data(), scales.data(), 2, 64}, x.data(), 64, coded.rows(), 1, {y.data(), 2, true}, nullptr));
  for (const float value : y.read()) CHECK(std::isnan(value));
}

TEST(shapes_that_cannot_be_multiplied_are_refused) {
  const Coded weights = fp8(3, 64);
  CodedMatrix odd = weights.matrix;
  odd.k = 60;
  Array<bf16> x(64 * 9), y(64);
  CHECK(multiply_coded(odd, x.data(), 64, 1, {y.data(), 3}, nullptr) == cudaErrorInvalidValue);
  CHECK(multiply_coded(weights.matrix, x.data(), 64, 9, {y.data(), 3}, nullptr) == cudaErrorInvalidValue);
  CHECK(expand_coded(odd, y.data(), nullptr) == cudaErrorInvalidValue);
  const Fp8Rows none = {};
  CHECK(quantise_fp8_rows(x.data(), 64, 1, 60, none, nullptr) == cudaErrorInvalidValue);
  CHECK(quantise_fp8_together(x.data(), 60, 1, 64, nullptr, none, nullptr) == cudaErrorInvalidValue);
}
