#include "ops/cpu/codebook_matrix.h"

#include <algorithm>
#include <cmath>

#include "ops/quantise.h"

namespace tessera::cpu {

namespace {

/** Blocks that are expanded, then multiplied, while one tile reads a panel: 16 KB. */
constexpr size_t kBlocksAtOnce = 4;

Codebook make_codebook(WeightType type, float unit) {
  Codebook out;
  out.unit = unit;
  for (int code = 0; code < 32; code++) {
    out.values[code] = static_cast<int16_t>(std::nearbyint(values4(type)[code % 16] * unit));
  }
  return out;
}

}  // namespace

const Codebook& codebook_of(WeightType type) {
  static const Codebook nf4 = make_codebook(WeightType::kNf4, 4096);
  static const Codebook fp4 = make_codebook(WeightType::kFp4, 4032);  // all of its values are multiples of 1 / 192
  return type == WeightType::kNf4 ? nf4 : fp4;
}

CodebookMatrix::CodebookMatrix(size_t num_rows, size_t num_cols, WeightType type, const Kernels& kernels)
    : WeightMatrix(num_rows, num_cols), kernel_(kernels.codebook), codebook_(codebook_of(type)),
      num_blocks_(num_cols / kCodeBlock) {
  bytes = num_panels() * num_blocks_ * kCodebookBlockBytes;
}

void CodebookMatrix::set_scale(size_t row, size_t block, float scale) {
  reinterpret_cast<float*>(block_start(row / kPanelWidth, block))[row % kPanelWidth] = scale;
}

void CodebookMatrix::set_codes(size_t panel, size_t block, const uint8_t* codes) {
  auto* out = reinterpret_cast<uint16_t*>(block_start(panel, block) + kPanelWidth * sizeof(float));
  for (size_t line = 0; line < kCodeBlock / 8; line++) {
    for (int half = 0; half < 2; half++) {
      for (int word = 0; word < 32; word++) {
        uint32_t four = 0;
        for (int nibble = 0; nibble < 4; nibble++) {
          const Place4 place = codebook_place(line, half, word, nibble);
          four |= static_cast<uint32_t>(codes[place.row * kCodeBlock + place.col]) << (4 * nibble);
        }
        *out++ = static_cast<uint16_t>(four);
      }
    }
  }
}

void CodebookMatrix::pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>&) const {
  kernel_.pack(x, stride, rows, cols, codebook_.unit, packed);
}

void CodebookMatrix::open_panel(size_t panel, size_t num_tiles, char* scratch) const {
  if (num_tiles > 1) kernel_.expand(block_start(panel, 0), codebook_, num_blocks_, scratch);
}

void CodebookMatrix::multiply(int rows, const char* packed, const std::vector<Outlier>&, const PanelTurn& turn,
                              char* scratch, float* sums) const {
  if (turn.num_tiles > 1) {
    kernel_.tile(rows, packed, scratch, num_blocks_, sums, false);
    return;
  }
  if (rows <= kernel_.max_rows) {
    kernel_.tile_codes(rows, packed, block_start(turn.panel, 0), codebook_, num_blocks_, sums);
    return;
  }
  for (size_t first = 0; first < num_blocks_; first += kBlocksAtOnce) {
    const size_t count = std::min(kBlocksAtOnce, num_blocks_ - first);
    kernel_.expand(block_start(turn.panel, first), codebook_, count, scratch);
    kernel_.tile(rows, packed + first * rows * kActivationBlockBytes, scratch, count, sums, first > 0);
  }
}

}  // namespace tessera::cpu
