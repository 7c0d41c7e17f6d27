/** Owns tests of the kernels that go over rows: patches, embeddings, norms, activations, pixel shuffle. */
#include "ops/cuda/tests/support.h"

using namespace tessera::cuda;
using namespace tessera::cuda::tests;

namespace {

/** LayerNorm of one row, or RMSNorm where there is no bias, in fp64. */
std::vector<double> plain_norm(const std::vector<double>& row, const std::vector<float>& weight,
                               const std::vector<float>* bias, double eps) {
  double mean = 0;
  for (const double value : row) mean += value / row.size();
  if (bias == nullptr) mean = 0;
  double squares = 0;
  for (const double value : row) squares += (value - mean) * (value - mean) / row.size();
  std::vector<double> out;
  for (size_t i = 0; i < row.size(); i++) {
    out.push_back((row[i] - mean) / std::sqrt(squares + eps) * weight[i] + (bias == nullptr ? 0 : (*bias)[i]));
  }
  return out;
}

void check_norm(int rows, int width, bool is_layer_norm, bool has_update) {
  const size_t count = static_cast<size_t>(rows) * width;
  Array<float> x(random_floats(count)), weight(random_floats(width)), bias(random_floats(width)), scale(random_floats(width));
  Array<bf16> delta(random_bf16(count)), y(count);
  const ResidualUpdate update = {has_update ? delta.data() : nullptr, has_update && is_layer_norm ? scale.data() : nullptr};
  must(norm(x.data(), update, weight.data(), is_layer_norm ? bias.data() : nullptr, 1e-6f, rows, width, y.data(), nullptr));
  std::vector<double> expected, residual;
  for (int r = 0; r < rows; r++) {
    std::vector<double> row;
    for (int i = 0; i < width; i++) {
      const size_t at = static_cast<size_t>(r) * width + i;
      const double change = has_update ? value_of(delta.given()[at]) * (is_layer_norm ? scale.given()[i] : 1) : 0;
      row.push_back(x.given()[at] + change);
    }
    residual.insert(residual.end(), row.begin(), row.end());
    const auto normal = plain_norm(row, weight.given(), is_layer_norm ? &bias.given() : nullptr, 1e-6);
    expected.insert(expected.end(), normal.begin(), normal.end());
  }
  CHECK_NEAR(1e-6, x.read(), residual);
  CHECK_NEAR(kBf16Tolerance, y.read(), expected);
}

void check_activations(int rows, int width, bool has_bias) {
  Array<bf16> x(random_bf16(rows * width, 3)), gate_up(random_bf16(rows * width * 2, 3)), y(rows * width);
  Array<float> bias(random_floats(width));
  must(bias_gelu(x.data(), has_bias ? bias.data() : nullptr, rows, width, nullptr));
  must(swiglu(gate_up.data(), rows, width, y.data(), nullptr));
  std::vector<double> gelu, product;
  for (int i = 0; i < rows * width; i++) {
    gelu.push_back(tessera::reference::gelu(value_of(x.given()[i]) + (has_bias ? bias.given()[i % width] : 0)));
    const size_t at = i / width * 2 * width + i % width;
    product.push_back(tessera::reference::silu(value_of(gate_up.given()[at])) * value_of(gate_up.given()[at + width]));
  }
  CHECK_NEAR(kBf16Tolerance, x.read(), gelu);
  CHECK_NEAR(kBf16Tolerance, y.read(), product);
}

}  // namespace

TEST(norms_with_and_without_update) {
  for (const int width : {24, 96, 896, 1500, 8192}) {
    for (const bool is_layer_norm : {false, true}) {
      for (const bool has_update : {false, true}) check_norm(width > 1000 ? 1 : 3, width, is_layer_norm, has_update);
    }
  }
}

TEST(an_update_alone_is_added_to_its_row) {
  for (const int width : {24, 700}) {
    for (const bool has_scale : {false, true}) {
      const int rows = 3;
      const size_t count = static_cast<size_t>(rows) * width;
      Array<float> x(random_floats(count)), scale(random_floats(width));
      Array<bf16> delta(random_bf16(count));
      must(add_update(x.data(), {delta.data(), has_scale ? scale.data() : nullptr}, rows, width, nullptr));
      std::vector<double> expected;
      for (size_t i = 0; i < count; i++) {
        expected.push_back(x.given()[i] + value_of(delta.given()[i]) * (has_scale ? scale.given()[i % width] : 1));
      }
      CHECK_NEAR(1e-6, x.read(), expected);
    }
  }
}

TEST(norm_in_place_leaves_other_columns) {
  const int rows = 3, width = 40, stride = 130;
  Array<bf16> x(random_bf16(rows * stride));
  Array<float> weight(random_floats(width));
  must(norm_in_place(x.data() + 8, weight.data(), 1e-6f, rows, width, stride, nullptr));
  std::vector<double> expected;
  for (const bf16 value : x.given()) expected.push_back(value_of(value));
  for (int r = 0; r < rows; r++) {
    const auto first = expected.begin() + r * stride + 8;
    const auto normal = plain_norm({first, first + width}, weight.given(), nullptr, 1e-6);
    std::copy(normal.begin(), normal.end(), first);
  }
  CHECK_NEAR(kBf16Tolerance, x.read(), expected);
}

TEST(patches_are_normalised_pixels) {
  const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
  const int num_tiles = 2, tile = 28, patch = 7, grid = tile / patch;
  std::vector<uint8_t> pixels(num_tiles * tile * tile * 3);
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = static_cast<uint8_t>(i * 37 % 251);
  Array<uint8_t> device(pixels);
  Array<bf16> patches(pixels.size());
  must(patchify(device.data(), num_tiles, tile, patch, mean, std, patches.data(), nullptr));
  std::vector<double> expected;
  for (int t = 0; t < num_tiles; t++) {
    for (int p = 0; p < grid * grid; p++) {
      for (int c = 0; c < 3; c++) {
        for (int i = 0; i < patch * patch; i++) {
          const int row = p / grid * patch + i / patch, col = p % grid * patch + i % patch;
          expected.push_back((pixels[((t * tile + row) * tile + col) * 3 + c] / 255.0 - mean[c]) / std[c]);
        }
      }
    }
  }
  CHECK_NEAR(kBf16Tolerance, patches.read(), expected);
}

TEST(embeddings_come_from_table_or_tiles) {
  const int width = 72;
  Array<bf16> table(random_bf16(11 * width));
  Array<float> tiles(random_floats(6 * width));
  Array<int32_t> ids(std::vector<int32_t>{3, 10, 0, 7}), rows(std::vector<int32_t>{-1, 5, -1, 0});
  Array<float> x(4 * width);
  must(embed({table.data(), 0, 11, tiles.data()}, ids.data(), rows.data(), 4, width, x.data(), nullptr));
  std::vector<double> expected;
  for (int t = 0; t < 4; t++) {
    for (int i = 0; i < width; i++) {
      const int row = rows.given()[t];
      expected.push_back(row >= 0 ? tiles.given()[row * width + i] : value_of(table.given()[ids.given()[t] * width + i]));
    }
  }
  CHECK_NEAR(0, x.read(), expected);
}

TEST(rows_for_the_head_are_gathered) {
  const int num_rows = 7, width = 300;
  Array<float> x(random_floats(static_cast<size_t>(num_rows) * width));
  const std::vector<int32_t> wanted = {6, 0, 3, 3};
  Array<int32_t> rows(wanted);
  Array<float> y(wanted.size() * width);
  must(gather_rows(x.data(), rows.data(), static_cast<int>(wanted.size()), width, y.data(), nullptr));
  const auto got = y.read();
  for (size_t i = 0; i < got.size(); i++) {
    CHECK_EQUAL(got[i], x.given()[static_cast<size_t>(wanted[i / width]) * width + i % width]);
  }
}

TEST(embeddings_of_a_part_of_the_vocabulary_are_zeros_for_all_else) {
  const int width = 40, first = 4, num_ids = 5;
  Array<bf16> table(random_bf16(num_ids * width));
  Array<int32_t> ids(std::vector<int32_t>{3, 4, 8, 9, 6}), rows(std::vector<int32_t>{-1, -1, -1, -1, 2});
  Array<float> x(5 * width);
  must(embed({table.data(), first, num_ids, nullptr}, ids.data(), rows.data(), 5, width, x.data(), nullptr));
  std::vector<double> expected;
  for (int t = 0; t < 5; t++) {
    const int id = ids.given()[t] - first;
    const bool is_here = rows.given()[t] < 0 && id >= 0 && id < num_ids;
    for (int i = 0; i < width; i++) expected.push_back(is_here ? value_of(table.given()[id * width + i]) : 0);
  }
  CHECK_NEAR(0, x.read(), expected);
}

TEST(positions_are_added_behind_the_class_row) {
  const int num_tiles = 2, patches_per_tile = 9, width = 40;
  Array<bf16> patches(random_bf16(num_tiles * patches_per_tile * width));
  Array<float> class_row(random_floats(width)), positions(random_floats((patches_per_tile + 1) * width));
  Array<float> x(num_tiles * (patches_per_tile + 1) * width);
  must(add_positions(patches.data(), class_row.data(), positions.data(), num_tiles, patches_per_tile, width, x.data(), nullptr));
  std::vector<double> expected;
  for (int t = 0; t < num_tiles; t++) {
    for (int p = 0; p <= patches_per_tile; p++) {
      for (int i = 0; i < width; i++) {
        const double value = p == 0 ? class_row.given()[i]
                                    : value_of(patches.given()[(t * patches_per_tile + p - 1) * width + i]);
        expected.push_back(value + positions.given()[p * width + i]);
      }
    }
  }
  CHECK_NEAR(1e-7, x.read(), expected);
}

TEST(activations_by_eight_and_by_one) {
  check_activations(5, 52, true);
  check_activations(3, 56, true);
  check_activations(2, 133, false);
  check_activations(2, 1032, true);
}

TEST(pixel_shuffle_of_both_versions) {
  const int num_tiles = 2, grid = 6, factor = 2, width = 20, side = grid / factor;
  const int row_width = factor * factor * width;
  Array<float> x(random_floats(num_tiles * (grid * grid + 1) * width)), weight(random_floats(row_width)), bias(random_floats(row_width));
  for (const bool transposed : {false, true}) {
    Array<bf16> y(static_cast<size_t>(num_tiles) * side * side * row_width);
    must(shuffle_norm(x.data(), num_tiles, grid, factor, width, transposed, weight.data(), bias.data(), 1e-5f, y.data(), nullptr));
    std::vector<double> expected;
    for (int t = 0; t < num_tiles; t++) {
      for (int square = 0; square < side * side; square++) {
        const int row = transposed ? square % side : square / side, col = transposed ? square / side : square % side;
        std::vector<double> values;
        for (int dy = 0; dy < factor; dy++) {
          for (int dx = 0; dx < factor; dx++) {
            const size_t patch = (row * factor + dy) * grid + col * factor + dx;
            for (int i = 0; i < width; i++) values.push_back(x.given()[(t * (grid * grid + 1) + 1 + patch) * width + i]);
          }
        }
        const auto normal = plain_norm(values, weight.given(), &bias.given(), 1e-5);
        expected.insert(expected.end(), normal.begin(), normal.end());
      }
    }
    CHECK_NEAR(kBf16Tolerance, y.read(), expected);
  }
}
