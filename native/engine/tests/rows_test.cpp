/** Owns the proof of the row-by-row operations: norms, exp, GELU, patches, shuffle, on every instruction set. */
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ops/reference/reference.h"
#include "tests/check.h"
#include "tests/support.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<double> doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

TEST(norms_agree_with_the_reference) {
  for (const auto* kernels : all_kernels()) {
    for (size_t n : {1, 2, 7, 16, 33, 127, 896, 4096}) {
      Random random(n);
      auto x = random.values(n, 3);
      for (float& v : x) v += 5;
      const auto weight = random.values(n);
      const auto bias = random.values(n);
      std::vector<float> y(n);
      kernels->layer_norm(x.data(), n, weight.data(), bias.data(), 1e-6f, y.data());
      CHECK(largest_difference(y, reference::layer_norm(to_reference(x, 1, n), doubles(weight), doubles(bias), 1e-6)) < 2e-5);
      kernels->rms_norm(x.data(), n, weight.data(), 1e-6f, y.data());
      CHECK(largest_difference(y, reference::rms_norm(to_reference(x, 1, n), doubles(weight), 1e-6)) < 2e-6);
      std::vector<float> same = x;
      kernels->rms_norm(same.data(), n, weight.data(), 1e-6f, same.data());
      CHECK(same_bits(same, y));
    }
  }
}

TEST(softmax_is_exact_where_it_must_be) {
  for (const auto* kernels : all_kernels()) {
    Random random(3);
    auto row = random.values(96, 20);
    std::vector<float> longer = row;
    longer.resize(256, -kInfinity);
    std::fill(row.begin() + 70, row.end(), -kInfinity);
    std::fill(longer.begin() + 70, longer.end(), -kInfinity);
    const auto before = row;
    const float sum = kernels->softmax(row.data(), row.size(), 0.5f);
    CHECK_EQUAL(kernels->softmax(longer.data(), longer.size(), 0.5f), sum);
    longer.resize(row.size());
    CHECK(same_bits(longer, row));
    double total = 0;
    const float max = *std::max_element(before.begin(), before.begin() + 70);
    for (size_t i = 0; i < 70; i++) {
      const double expected = std::exp((static_cast<double>(before[i]) - max) * 0.5);
      CHECK(std::fabs(row[i] - expected) <= 3e-6 * expected + 1e-37);  // the exponent, up to 29, is rounded once
      total += expected;
    }
    for (size_t i = 70; i < row.size(); i++) CHECK_EQUAL(row[i], 0.0f);
    CHECK(std::fabs(sum - total) < 1e-5 * total);
    row[5] = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(kernels->softmax(row.data(), row.size(), 1)));
  }
}

TEST(largest_finds_a_number_anywhere_and_no_number) {
  for (const auto* kernels : all_kernels()) {
    for (size_t n : {0, 1, 5, 16, 64, 65, 1000}) {
      Random random(n);
      auto x = random.values(n, 12);
      CHECK_EQUAL(kernels->largest(x.data(), n), n == 0 ? -kInfinity : *std::max_element(x.begin(), x.end()));
      for (size_t i = 0; i < n; i++) {
        const float before = std::exchange(x[i], kInfinity);
        CHECK_EQUAL(kernels->largest(x.data(), n), kInfinity);
        x[i] = std::numeric_limits<float>::quiet_NaN();
        CHECK(std::isnan(kernels->largest(x.data(), n)));
        x[i] = before;
      }
      std::fill(x.begin(), x.end(), -kInfinity);
      CHECK_EQUAL(kernels->largest(x.data(), n), -kInfinity);
    }
  }
}

TEST(exp_sum_agrees_with_the_reference) {
  for (const auto* kernels : all_kernels()) {
    for (size_t n : {1, 5, 16, 1023, 1024, 1025, 151674}) {
      Random random(n);
      const auto x = random.values(n, 12);
      double expected = 0;
      for (float v : x) expected += std::exp((static_cast<double>(v) - 12) * 0.7);
      CHECK(std::fabs(kernels->exp_sum(x.data(), n, 12, 0.7f) - expected) < 2e-6 * expected);
    }
  }
}

/** What a tile's end makes of single values. */
std::vector<float> through_gelu(const cpu::Kernels& kernels, const std::vector<float>& values) {
  std::vector<float> out(values.size());
  for (size_t i = 0; i < values.size(); i += cpu::kPanelWidth) {
    float tile[cpu::kPanelWidth] = {};
    const int cols = static_cast<int>(std::min<size_t>(cpu::kPanelWidth, values.size() - i));
    std::copy_n(values.data() + i, cols, tile);
    kernels.finish(tile, 1, {nullptr, true, nullptr, nullptr, 0, out.data() + i, 0, cols});
  }
  return out;
}

TEST(gelu_and_silu_agree_everywhere) {
  std::vector<float> values;
  for (float x = -12; x <= 12; x += 0.00137f) values.push_back(x);
  for (float x : {0.0f, -0.0f, 1e-30f, -1e-30f, 100.0f, -100.0f}) values.push_back(x);
  for (const auto* kernels : all_kernels()) {
    const auto gelu = through_gelu(*kernels, values);
    double worst = 0;
    for (size_t i = 0; i < values.size(); i++) {
      worst = std::max(worst, std::fabs(gelu[i] - reference::gelu(values[i])) / (1 + std::fabs(values[i])));
    }
    CHECK(worst < 3e-7);
    const auto bad = through_gelu(*kernels, {std::numeric_limits<float>::quiet_NaN()});
    CHECK(std::isnan(bad[0]));
    for (float x : values) {
      float gate[cpu::kPanelWidth] = {x};
      float up[cpu::kPanelWidth] = {1};
      float out = 0;
      kernels->finish_swiglu(gate, up, 1, 1, &out, 1);
      CHECK(std::fabs(out - reference::silu(x)) <= 5e-7 * (1e-30 + std::fabs(x)));
    }
  }
}

TEST(patches_lie_as_a_convolution_reads_them) {
  const int tile = 6, patch = 3;
  std::vector<uint8_t> pixels(2 * tile * tile * 3);
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = static_cast<uint8_t>(i * 7);
  const float mean[3] = {0.1f, 0.2f, 0.3f};
  const float std[3] = {0.5f, 0.6f, 0.7f};
  auto ops = all_variants()[0].open();
  std::vector<float> out(2 * 4 * 27);
  ops->patchify(pixels, tile, patch, mean, std, {out.data(), 8, 27});
  for (int row = 0; row < 8; row++) {
    for (int c = 0; c < 3; c++) {
      for (int y = 0; y < patch; y++) {
        for (int x = 0; x < patch; x++) {
          const int py = row / 2 % 2 * patch + y;
          const int px = row % 2 * patch + x;
          const int value = pixels[((row / 4 * tile + py) * tile + px) * 3 + c];
          CHECK(std::fabs(out[row * 27 + c * 9 + y * 3 + x] - (value / 255.0 - mean[c]) / std[c]) < 1e-6);
        }
      }
    }
  }
}

TEST(pixel_shuffle_gathers_squares) {
  const size_t grid = 6, channels = 2;
  std::vector<float> x(2 * (grid * grid + 1) * channels);
  for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i);
  auto ops = all_variants()[0].open();
  for (size_t factor : {1, 2, 3}) {
    const size_t side = grid / factor;
    const size_t cols = channels * factor * factor;
    for (bool transposed : {false, true}) {
      std::vector<float> y(2 * side * side * cols);
      ops->pixel_shuffle({x.data(), 2 * (grid * grid + 1), channels}, {grid, factor, transposed},
                         {y.data(), 2 * side * side, cols});
      for (size_t tile = 0; tile < 2; tile++) {
        for (size_t i = 0; i < side; i++) {
          for (size_t j = 0; j < side; j++) {
            const size_t row = tile * side * side + (transposed ? j * side + i : i * side + j);
            for (size_t c = 0; c < cols; c++) {
              const size_t dy = c / channels / factor;
              const size_t dx = c / channels % factor;
              const size_t token = 1 + (i * factor + dy) * grid + j * factor + dx;
              CHECK_EQUAL(y[row * cols + c], x[(tile * (grid * grid + 1) + token) * channels + c % channels]);
            }
          }
        }
      }
    }
  }
}

}  // namespace
