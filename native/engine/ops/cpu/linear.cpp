/**
 * Owns the matrix products: packs activations, then walks blocks of rows over panels of weights. Work is (block of
 * rows, panel of 32 columns): a block's activations stay in L2 while panels stream past, each read once a block.
 */
#include <algorithm>
#include <atomic>
#include <cmath>

#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/half.h"
#include "ops/cpu/packed_matrix.h"

namespace tessera::cpu {

namespace {

/** Tiles of rows that share one pass over the weights. */
constexpr size_t kTilesPerBlock = 16;
/** Bytes ahead of its own stream that weights are asked for while few rows read them. */
constexpr size_t kAhead = 1024;

/** How M rows are cut into tiles: as even as the kernel's width allows. */
struct RowTiles {
  size_t rows;       // of all but the last
  size_t count;
  size_t num_rows;   // in all

  RowTiles(size_t num_rows, int max_rows) : num_rows(num_rows) {
    count = (num_rows + max_rows - 1) / max_rows;
    rows = count == 0 ? 1 : (num_rows + count - 1) / count;
    count = (num_rows + rows - 1) / rows;
  }
  int size(size_t tile) const { return static_cast<int>(std::min(rows, num_rows - tile * rows)); }
  size_t num_blocks() const { return (count + kTilesPerBlock - 1) / kTilesPerBlock; }
};

}  // namespace

const MatrixKernel& CpuOps::weight_kernel() const {
  switch (dtype_) {
    case Dtype::kBf16: return kernels_.bf16;
    case Dtype::kFp16: return kernels_.f16;
    default: return kernels_.f32;
  }
}

void CpuOps::refuse_overflow(const HostTensor& tensor) {
  std::atomic<bool> fits = true;
  parallel(tensor.rows, kElementCost * tensor.rows * tensor.cols, [&](size_t row, int) {
    for (size_t i = row * tensor.cols; i < (row + 1) * tensor.cols; i++) {
      const float value = read_disk(static_cast<const char*>(tensor.data), tensor.type, i);
      if (std::fabs(value) >= 65520.0f) fits = false;
    }
  });
  if (!fits) refuse("load tensor " + tensor.name, "a value rounds to infinity in fp16", "dtype bf16 or fp32");
}

std::unique_ptr<Matrix> CpuOps::load_matrix(std::span<const HostTensor> parts, Join join) {
  if (dtype_ == Dtype::kFp16) {
    for (const auto& part : parts) refuse_overflow(part);
  }
  size_t rows = 0;
  for (const auto& part : parts) rows += part.rows;
  const DiskType type = dtype_ == Dtype::kBf16 ? DiskType::kBf16
                        : dtype_ == Dtype::kFp16 ? DiskType::kF16 : DiskType::kF32;
  if (join == Join::kStacked) {
    auto matrix = std::make_unique<PackedMatrix>(rows, parts[0].cols, type, weight_kernel());
    size_t first = 0;
    for (const auto& part : parts) {
      pack_rows(part, *matrix, [&](size_t row) { return first + row; });
      first += part.rows;
    }
    return matrix;
  }
  // A panel of gate, then the same columns of up: their tiles are at hand together.
  const size_t padded = (parts[0].rows + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  auto matrix = std::make_unique<PackedMatrix>(2 * padded, parts[0].cols, type, weight_kernel());
  for (size_t i = 0; i < 2; i++) {
    pack_rows(parts[i], *matrix,
              [&](size_t row) { return (2 * (row / kPanelWidth) + i) * kPanelWidth + row % kPanelWidth; });
  }
  return matrix;
}

template <class Place>
void CpuOps::pack_rows(const HostTensor& part, PackedMatrix& matrix, Place&& place) {
  // A panel's worth of rows at a time: they fill the same cache lines.
  const size_t count = (part.rows + kPanelWidth - 1) / kPanelWidth;
  parallel(count, kElementCost * part.rows * part.cols, [&](size_t chunk, int) {
    const size_t last = std::min(part.rows, (chunk + 1) * kPanelWidth);
    for (size_t row = chunk * kPanelWidth; row < last; row++) matrix.pack_row(place(row), part, row);
  });
}

const char* CpuOps::pack(const Rows& x, const MatrixKernel& kernel, size_t block_rows) {
  const size_t row_bytes = (x.cols + kernel.k_step - 1) / kernel.k_step * kernel.k_step * kernel.a_bytes;
  packed_.reserve(x.rows * row_bytes);
  char* out = packed_.as<char>();
  const size_t count = (x.rows + block_rows - 1) / block_rows;
  parallel(count, kElementCost * x.rows * x.cols, [&](size_t block, int) {
    const size_t first = block * block_rows;
    const size_t rows = std::min(block_rows, x.rows - first);
    kernel.pack(x.data + first * x.stride, x.stride, static_cast<int>(rows), x.cols, out + first * row_bytes);
  });
  return out;
}

void CpuOps::linear(const Rows& x, const Matrix& w, const Epilogue& epilogue, const Rows& y) {
  const auto& matrix = static_cast<const PackedMatrix&>(w);
  const MatrixKernel& kernel = matrix.kernel();
  const RowTiles tiles(x.rows, kernels_.max_rows);
  const char* packed = pack(x, kernel, tiles.rows);
  const size_t row_bytes = matrix.steps() * kernel.k_step * kernel.a_bytes;
  const size_t num_panels = matrix.num_panels();
  parallel(tiles.num_blocks() * num_panels, (x.rows + kRowsPerRead) * matrix.rows * matrix.cols,
           [&](size_t item, int) {
    const size_t panel = item % num_panels;
    const size_t col = panel * kPanelWidth;
    const size_t first = item / num_panels * kTilesPerBlock;
    const size_t last = std::min(first + kTilesPerBlock, tiles.count);
    alignas(64) float sums[kMaxRows * kPanelWidth];
    for (size_t tile = first; tile < last; tile++) {
      const size_t row = tile * tiles.rows;
      kernel.tile(tiles.size(tile), packed + row * row_bytes, matrix.panel(panel), matrix.steps(), sums, kPanelWidth,
                  false, matrix.panel(panel) + kAhead);
      TileEnd end;
      end.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + col;
      end.gelu = epilogue.activation == Activation::kGelu;
      end.scale = epilogue.scale == nullptr ? nullptr : epilogue.scale + col;
      end.residual = epilogue.residual == nullptr ? nullptr : epilogue.residual + row * epilogue.residual_stride + col;
      end.residual_stride = epilogue.residual_stride;
      end.out = y.data + row * y.stride + col;
      end.out_stride = y.stride;
      end.cols = static_cast<int>(std::min<size_t>(kPanelWidth, matrix.rows - col));
      kernels_.finish(sums, tiles.size(tile), end);
    }
  });
}

void CpuOps::linear_swiglu(const Rows& x, const Matrix& gate_up, const Rows& y) {
  const auto& matrix = static_cast<const PackedMatrix&>(gate_up);
  const MatrixKernel& kernel = matrix.kernel();
  const RowTiles tiles(x.rows, kernels_.max_rows);
  const char* packed = pack(x, kernel, tiles.rows);
  const size_t row_bytes = matrix.steps() * kernel.k_step * kernel.a_bytes;
  const size_t num_pairs = matrix.num_panels() / 2;
  parallel(tiles.num_blocks() * num_pairs, (x.rows + kRowsPerRead) * matrix.rows * matrix.cols,
           [&](size_t item, int) {
    const size_t pair = item % num_pairs;
    const size_t col = pair * kPanelWidth;
    const size_t first = item / num_pairs * kTilesPerBlock;
    const size_t last = std::min(first + kTilesPerBlock, tiles.count);
    alignas(64) float sums[2][kMaxRows * kPanelWidth];
    for (size_t tile = first; tile < last; tile++) {
      const size_t row = tile * tiles.rows;
      for (size_t i = 0; i < 2; i++) {
        kernel.tile(tiles.size(tile), packed + row * row_bytes, matrix.panel(2 * pair + i), matrix.steps(), sums[i],
                    kPanelWidth, false, matrix.panel(2 * pair + i) + kAhead);
      }
      kernels_.finish_swiglu(sums[0], sums[1], tiles.size(tile),
                             static_cast<int>(std::min<size_t>(kPanelWidth, y.cols - col)),
                             y.data + row * y.stride + col, y.stride);
    }
  });
}

}  // namespace tessera::cpu
