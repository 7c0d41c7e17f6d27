/** Owns the proof that AWQ's packed weights are read as they are defined, and multiplied as what they stand for. */
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/half.h"
#include "tests/awq_golden.h"
#include "tests/check.h"
#include "tests/support.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

/** What make_awq_goldens.py makes of a seed. */
struct Packed {
  std::vector<uint32_t> codes, zeros;
  std::vector<uint16_t> scales;
  HostTensor tensor;

  explicit Packed(const GoldenAwq& golden) {
    Random random(golden.seed);
    const size_t groups = golden.inputs / golden.group;
    for (size_t i = 0; i < golden.inputs * golden.outputs / 8; i++) codes.push_back(random.word());
    for (size_t i = 0; i < groups * golden.outputs / 8; i++) zeros.push_back(random.word());
    for (size_t i = 0; i < groups * golden.outputs; i++) {
      const auto scale = static_cast<float>(static_cast<double>(random.word()) * 0x1p-36);
      scales.push_back(cpu::to_f16(i % 5 == 0 ? scale * 0x1p-12f : scale));
    }
    tensor = {"w", codes.data(), DiskType::kF16, golden.outputs, golden.inputs, zeros.data(), scales.data(),
              golden.group};
  }
  std::unique_ptr<Matrix> load(Ops& ops, Join join = Join::kStacked) const {
    return ops.load_matrix({&tensor, 1}, join, WeightType::kAwq);
  }
};

/** A matrix's weights, by multiplying it with the rows of the identity: as many at a time as `together`. */
std::vector<float> weights_of(Ops& ops, const Matrix& matrix, size_t together) {
  const size_t n = matrix.rows, k = matrix.cols;
  std::vector<float> out(n * k);
  for (size_t first = 0; first < k; first += together) {
    const size_t m = std::min(together, k - first);
    std::vector<float> x(m * k), y(m * n);
    for (size_t i = 0; i < m; i++) x[i * k + first + i] = 1;
    ops.linear({x.data(), m, k}, matrix, {}, {y.data(), m, n});
    for (size_t i = 0; i < m; i++) {
      for (size_t row = 0; row < n; row++) out[row * k + first + i] = y[i * n + row];
    }
  }
  return out;
}

uint64_t fnv(const std::vector<uint16_t>& values) {
  uint64_t out = 0xcbf29ce484222325u;
  for (uint16_t value : values) {
    for (int byte = 0; byte < 2; byte++) out = (out ^ (value >> (8 * byte) & 0xff)) * 0x100000001b3u;
  }
  return out;
}

TEST(awq_weights_are_those_of_the_definition) {
  for (const GoldenAwq& golden : kGoldensAwq) {
    const Packed packed(golden);
    for (const auto* kernels : all_kernels()) {
      for (const Dtype dtype : {Dtype::kBf16, Dtype::kFp16, Dtype::kFp32}) {
        cpu::CpuOps ops(dtype, 2, *kernels);
        const auto matrix = packed.load(ops);
        // Few rows, a tile and several tiles take three ways through the kernels.
        for (const size_t together : {1, 11, 64}) {
          std::vector<uint16_t> bits;
          for (float value : weights_of(ops, *matrix, together)) {
            bits.push_back(dtype == Dtype::kBf16 ? cpu::to_bf16(value) : cpu::to_f16(value));
          }
          CHECK_EQUAL(fnv(bits), dtype == Dtype::kBf16 ? golden.bf16 : golden.fp16);
        }
      }
    }
  }
}

TEST(awq_products_are_the_bits_of_the_expanded_weights) {
  const GoldenAwq& golden = kGoldensAwq.back();
  const Packed packed(golden);
  const size_t n = golden.outputs, k = golden.inputs;
  Random random(5);
  auto x = random.values(40 * k);
  for (const auto* kernels : all_kernels()) {
    cpu::CpuOps ops(Dtype::kBf16, 2, *kernels);
    const auto matrix = packed.load(ops);
    const auto expanded = make_matrix(ops, weights_of(ops, *matrix, 64), n, k);
    for (const size_t m : {1, 2, 3, 8, 9, 14, 15, 40}) {
      std::vector<float> y(m * n), expected(m * n);
      ops.linear({x.data(), m, k}, *matrix, {}, {y.data(), m, n});
      ops.linear({x.data(), m, k}, *expanded, {}, {expected.data(), m, n});
      CHECK(same_bits(y, expected));
    }
  }
}

TEST(awq_weights_of_some_rows_or_groups_are_those_of_the_whole) {
  const GoldenAwq& golden = kGoldensAwq[2];
  const Packed packed(golden);
  const size_t n = golden.outputs, k = golden.inputs, group = golden.group;
  for (const Dtype dtype : {Dtype::kBf16, Dtype::kFp32}) {
    cpu::CpuOps ops(dtype, 2, *all_kernels()[0]);
    const std::vector<float> whole = weights_of(ops, *packed.load(ops), 64);
    // Rows from within a word of codes on, and groups in the middle.
    struct { size_t row, rows, col, cols; } const slices[] = {{0, n, 2 * group, 3 * group}, {13, 22, 0, k}, {40, 32, 64, 64}};
    for (const auto& [row, rows, col, cols] : slices) {
      HostTensor part = packed.tensor;
      part.data = packed.codes.data() + col * n / 8;
      part.zeros = packed.zeros.data() + col / group * n / 8;
      part.scales = packed.scales.data() + col / group * n;
      part.stride = n, part.first_row = row, part.rows = rows, part.cols = cols;
      const std::vector<float> own = weights_of(ops, *ops.load_matrix({&part, 1}, Join::kStacked, WeightType::kAwq), 64);
      for (size_t i = 0; i < rows; i++) {
        const float* expected = &whole[(row + i) * k + col];
        CHECK(std::equal(&own[i * cols], &own[(i + 1) * cols], expected));
      }
    }
  }
}

TEST(awq_takes_half_a_byte_a_weight_and_its_scales) {
  const GoldenAwq& golden = kGoldensAwq.back();
  cpu::CpuOps ops(Dtype::kBf16, 1, *all_kernels()[0]);
  const size_t n = golden.outputs, k = golden.inputs;
  CHECK_EQUAL(Packed(golden).load(ops)->bytes, n * k / 2 + n * k / golden.group * 8);
}

TEST(awq_scales_that_no_quantiser_writes_are_refused) {
  for (const float bad : {-1.0f, 5000.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    Packed packed(kGoldensAwq[0]);
    packed.scales[3] = cpu::to_f16(bad);
    cpu::CpuOps ops(Dtype::kBf16, 1, *all_kernels()[0]);
    CHECK_REFUSES("tensor w", packed.load(ops));
  }
}

}  // namespace
