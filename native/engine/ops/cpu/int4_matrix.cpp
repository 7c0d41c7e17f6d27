#include "ops/cpu/int4_matrix.h"

#include <algorithm>

namespace tessera::cpu {

namespace {

/** Columns that are expanded, then multiplied, while one tile reads a panel: 16 KB of bf16. */
constexpr size_t kColumnsAtOnce = 256;

}  // namespace

Int4Matrix::Int4Matrix(size_t num_rows, size_t num_cols, const Format4& format, const Kernels& kernels)
    : WeightMatrix(num_rows, num_cols), kernels_(kernels), format_(format), num_groups_(num_cols / format.group_cols) {
  bytes = num_panels() * num_groups_ * format.group_bytes();
}

void Int4Matrix::set_scale_and_zero(size_t row, size_t index, float scale, int zero) {
  header(row, index)[0] = scale;
  header(row, index)[kPanelWidth] = -scale * static_cast<float>(zero);  // exact: 11 bits times 4
}

void Int4Matrix::set_codes(size_t panel, size_t block, const uint8_t* codes) {
  const size_t first = block * kCodeBlock;
  char* codes_start = group(panel, first / format_.group_cols) + format_.header_bytes();
  auto* out = reinterpret_cast<uint16_t*>(codes_start + first % format_.group_cols / kCodeBlock * kCodeBlockBytes);
  for (int half = 0; half < 2; half++) {
    for (size_t line = 0; line < kCodeBlock / 8; line++) {
      for (int word = 0; word < 32; word++) {
        uint32_t four = 0;
        for (int nibble = 0; nibble < 4; nibble++) {
          const Place4 place = place4(half, line, word, nibble);
          four |= static_cast<uint32_t>(codes[place.row * kCodeBlock + place.col]) << (4 * nibble);
        }
        *out++ = static_cast<uint16_t>(four);
      }
    }
  }
}

void Int4Matrix::pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>&) const {
  kernels_.bf16.pack(x, stride, rows, cols, packed);
}

void Int4Matrix::open_panel(size_t panel, size_t num_tiles, char* scratch) const {
  if (num_tiles > 1) kernels_.int4.expand(group(panel, 0), format_, num_groups_, scratch);
}

void Int4Matrix::multiply(int rows, const char* packed, const std::vector<Outlier>&, const PanelTurn& turn,
                          char* scratch, float* sums) const {
  if (turn.num_tiles > 1) {
    kernels_.bf16.tile(rows, packed, scratch, cols / 2, sums, kPanelWidth, false, scratch);
    return;
  }
  if (rows <= kernels_.int4.max_rows) {
    kernels_.int4.tile(rows, packed, group(turn.panel, 0), format_, num_groups_, sums);
    return;
  }
  // Sums go through memory between pieces, which changes none of their bits.
  const size_t at_once = std::max<size_t>(1, kColumnsAtOnce / format_.group_cols);
  for (size_t first = 0; first < num_groups_; first += at_once) {
    const size_t count = std::min(at_once, num_groups_ - first);
    kernels_.int4.expand(group(turn.panel, first), format_, count, scratch);
    kernels_.bf16.tile(rows, packed + first * format_.group_cols * rows * kernels_.bf16.a_bytes, scratch,
                       count * format_.group_cols / 2, sums, kPanelWidth, first > 0, scratch);
  }
}

}  // namespace tessera::cpu
