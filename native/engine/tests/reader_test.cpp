/** Owns the proof that rows written for their one reader give the same bits as rows that lie plainly. */
#include "tests/check.h"
#include "tests/support.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

struct Shape {
  size_t m, hidden, inner;
};
// Widths with whole panels and without, of whole blocks of 64 and without; one tile, several, an uneven last one.
constexpr Shape kShapes[] = {{1, 64, 128}, {2, 48, 96}, {8, 64, 256}, {14, 33, 70}, {15, 64, 192}, {45, 128, 64}, {300, 64, 32}};

struct Block {
  Ops& ops;
  const Matrix& up;
  const Matrix& gate_up;
  const Matrix& down;
  const std::vector<float>& weight;
  const std::vector<float>& bias;

  Rows marked(const Rows& rows, const Matrix& reader, bool for_reader) const {
    return for_reader ? rows.for_reader(reader) : rows;
  }

  /** Norm, product with GELU, product; then norm, SwiGLU, product. */
  std::vector<float> run(std::vector<float> x, size_t m, bool for_reader) const {
    const size_t hidden = down.rows, inner = down.cols;
    std::vector<float> normal(m * hidden), wide(m * inner);
    const Rows rows(x.data(), m, hidden);
    const Rows inside = marked({wide.data(), m, inner}, down, for_reader);
    const Rows before = marked({normal.data(), m, hidden}, up, for_reader);
    ops.layer_norm(rows, weight.data(), bias.data(), 1e-6f, before);
    ops.linear(before, up, {.bias = bias.data(), .activation = Activation::kGelu}, inside);
    ops.linear(inside, down, {.residual = x.data(), .residual_stride = hidden}, rows);
    const Rows again = marked({normal.data(), m, hidden}, gate_up, for_reader);
    ops.rms_norm(rows, weight.data(), 1e-6f, again);
    ops.linear_swiglu(again, gate_up, bias.data(), inside);
    ops.linear(inside, down, {}, rows);
    return x;
  }
};

TEST(rows_for_one_reader_have_the_same_bits) {
  for (const Variant& variant : all_variants()) {
    for (WeightType type : {WeightType::kBase, WeightType::kInt8, WeightType::kNf4}) {
      if (type != WeightType::kBase && variant.dtype != Dtype::kBf16) continue;
      for (const auto [m, hidden, inner] : kShapes) {
        Random random(m + hidden);
        auto ops = variant.open(2);
        const auto up = make_matrix(*ops, random.values(inner * hidden, 0.2f), inner, hidden, type);
        const auto gates = random.values(2 * inner * hidden, 0.2f);
        const HostTensor parts[] = {{"gate", gates.data(), DiskType::kF32, inner, hidden},
                                    {"up", gates.data() + inner * hidden, DiskType::kF32, inner, hidden}};
        const auto gate_up = ops->load_matrix(parts, Join::kGateUp, type);
        const auto down = make_matrix(*ops, random.values(hidden * inner, 0.2f), hidden, inner, type);
        const auto weight = random.values(hidden);
        const auto bias = random.values(2 * (inner + hidden));
        // Some values beyond what int8 holds.
        const auto x = random.values(m * hidden, 20);
        const Block block = {*ops, *up, *gate_up, *down, weight, bias};
        const auto plain = block.run(x, m, false);
        const auto marked = block.run(x, m, true);
        if (!same_bits(plain, marked)) {
          fail(__FILE__, __LINE__, variant.name + " " + std::to_string(m) + " rows of " + std::to_string(hidden) + ", " +
                                       std::to_string(inner) + " inside: other bits");
        }
      }
    }
  }
}

}  // namespace
