#include "ops/cpu/int4_matrix.h"

#include <algorithm>

namespace tessera::cpu {

namespace {

constexpr size_t kPairs = kBlock4 / 2;
/** Groups that are expanded, then multiplied, while one tile reads a panel: 16 KB of bf16. */
constexpr size_t kGroupsAtOnce = 4;

}  // namespace

static_assert(kGroup4Bytes == kPanelWidth * 4 + kPairs * kPanelWidth);

Int4Matrix::Int4Matrix(size_t num_rows, size_t num_cols, WeightType type, const Kernels& kernels)
    : WeightMatrix(num_rows, num_cols), kernels_(kernels), values_(values4(type)), num_groups_(num_cols / kBlock4),
      memory_(num_panels() * num_groups_ * kGroup4Bytes) {
  bytes = memory_.bytes();
}

void Int4Matrix::pack_row(size_t row, const Tensor4& source, size_t source_row) {
  const size_t lane = row % kPanelWidth;
  for (size_t g = 0; g < num_groups_; g++) {
    uint8_t* to = group(row / kPanelWidth, g);
    const size_t block = source_row * num_groups_ + g;
    const float scale = source.scale(block);
    __builtin_memcpy(to + lane * 4, &scale, 4);
    uint8_t* codes = to + kPanelWidth * 4 + lane;
    for (size_t pair = 0; pair < kPairs; pair++) {
      const size_t index = block * kBlock4 + 2 * pair;
      codes[pair * kPanelWidth] = static_cast<uint8_t>(source.code(index) | source.code(index + 1) << 4);
    }
  }
}

void Int4Matrix::pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>&) const {
  kernels_.bf16.pack(x, stride, rows, cols, packed);
}

void Int4Matrix::open_panel(size_t panel, size_t num_tiles, char* scratch) const {
  if (num_tiles > 1) kernels_.expand4(group(panel, 0), values_, num_groups_, scratch);
}

void Int4Matrix::multiply(int rows, const char* packed, const std::vector<Outlier>&, const PanelTurn& turn,
                          char* scratch, float* sums) const {
  if (turn.num_tiles > 1) {
    kernels_.bf16.tile(rows, packed, scratch, cols / 2, sums, kPanelWidth, false, scratch);
    return;
  }
  // Sums go through memory between pieces, which changes none of their bits.
  for (size_t first = 0; first < num_groups_; first += kGroupsAtOnce) {
    const size_t count = std::min(kGroupsAtOnce, num_groups_ - first);
    kernels_.expand4(group(turn.panel, first), values_, count, scratch);
    kernels_.bf16.tile(rows, packed + first * kBlock4 * rows * kernels_.bf16.a_bytes, scratch, count * kPairs, sums,
                       kPanelWidth, first > 0, scratch);
  }
}

}  // namespace tessera::cpu
