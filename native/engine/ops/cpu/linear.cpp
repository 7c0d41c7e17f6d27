/**
 * Owns the matrix products: packs activations, then walks blocks of rows over panels of weights. Work is (block of
 * rows, panel of 32 columns): a block's activations stay in L2 while panels stream past, each read once a block.
 */
#include <algorithm>

#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/weight_matrix.h"

namespace tessera::cpu {

namespace {

/** Tiles of rows that share one pass over the weights, at most. */
constexpr size_t kTilesPerBlock = 16;

/** Asks for the memory of a tile of results, so that it has come when they are there to be stored. */
void ask_for(const float* out, size_t stride, int rows) {
  for (int r = 0; r < rows; r++, out += stride) {
    __builtin_prefetch(out, 1);
    __builtin_prefetch(out + kPanelWidth / 2, 1);
  }
}

/** Adds a bias to a tile [rows][32]. */
void add_bias(float* tile, int rows, int cols, const float* bias) {
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < cols; c++) tile[r * kPanelWidth + c] += bias[c];
  }
}

}  // namespace

CpuOps::RowTiles::RowTiles(size_t num_rows, int max_rows) : num_rows(num_rows) {
  count = (num_rows + max_rows - 1) / max_rows;
  rows = count == 0 ? 1 : (num_rows + count - 1) / count;
  count = (num_rows + rows - 1) / rows;
  num_blocks = (count + kTilesPerBlock - 1) / kTilesPerBlock;
}

int CpuOps::RowTiles::size(size_t tile) const { return static_cast<int>(std::min(rows, num_rows - tile * rows)); }

const WeightMatrix* CpuOps::reader_of(const Rows& y) const {
  const auto* matrix = static_cast<const WeightMatrix*>(y.reader);
  return matrix != nullptr && y.stride == y.cols && matrix->packed_row_bytes() <= y.cols * 4 ? matrix : nullptr;
}

const char* CpuOps::pack(const Rows& x, const WeightMatrix& matrix, const RowTiles& tiles) {
  if (packed_rows_ == x.data && x.reader == &matrix) {
    packed_rows_ = nullptr;
    return reinterpret_cast<const char*>(x.data);
  }
  const size_t row_bytes = matrix.packed_row_bytes();
  packed_.reserve(x.rows * row_bytes);
  char* out = packed_.as<char>();
  if (outliers_.size() < tiles.count) outliers_.resize(tiles.count);
  parallel(tiles.count, kElementCost * x.rows * x.cols, [&](size_t tile, int) {
    const size_t first = tile * tiles.rows;
    outliers_[tile].clear();
    matrix.pack(x.data + first * x.stride, x.stride, tiles.size(tile), out + first * row_bytes, outliers_[tile]);
  });
  return out;
}

template <class Normalise>
void CpuOps::normalise(const Rows& x, const Rows& y, Normalise&& normalise) {
  const WeightMatrix* reader = x.data == y.data ? nullptr : reader_of(y);
  const double cost = kElementCost * x.rows * x.cols;
  if (reader == nullptr) {
    parallel(x.rows, cost, [&](size_t row, int) { normalise(x.data + row * x.stride, y.data + row * y.stride); });
    return;
  }
  const RowTiles tiles(x.rows, kernels_.max_rows);
  reserve_scratch(tiles.rows * x.cols * 4);
  if (outliers_.size() < tiles.count) outliers_.resize(tiles.count);
  char* out = reinterpret_cast<char*>(y.data);
  parallel(tiles.count, cost, [&](size_t tile, int thread) {
    const size_t first = tile * tiles.rows;
    float* normal = scratch_[thread].f32();
    for (int r = 0; r < tiles.size(tile); r++) normalise(x.data + (first + r) * x.stride, normal + r * x.cols);
    outliers_[tile].clear();
    reader->pack(normal, x.cols, tiles.size(tile), out + first * reader->packed_row_bytes(), outliers_[tile]);
  });
  packed_rows_ = y.data;
}

void CpuOps::layer_norm(const Rows& x, const float* weight, const float* bias, float eps, const Rows& y) {
  normalise(x, y, [&](const float* from, float* to) { kernels_.layer_norm(from, x.cols, weight, bias, eps, to); });
}

void CpuOps::rms_norm(const Rows& x, const float* weight, float eps, const Rows& y) {
  normalise(x, y, [&](const float* from, float* to) { kernels_.rms_norm(from, x.cols, weight, eps, to); });
}

WeightStream CpuOps::begin_stream(const WeightStream& stream) {
  if (num_streams_ == kMaxStreams) return {};
  if (num_streams_ == streams_.size()) streams_.emplace_back();
  streams_[num_streams_++] = stream;
  return streams_[num_streams_ % streams_.size()];
}

template <class Begin, class End>
void CpuOps::multiply(const Rows& x, const WeightMatrix& matrix, size_t together, Begin&& begin, End&& end) {
  const RowTiles tiles(x.rows, kernels_.max_rows);
  const char* packed = pack(x, matrix, tiles);
  const size_t row_bytes = matrix.packed_row_bytes();
  const size_t num_items = matrix.num_panels() / together;
  const size_t scratch_bytes = matrix.scratch_bytes();
  if (scratch_bytes > 0) reserve_scratch(together * scratch_bytes);
  // While a thread waits for the others, and for what lies between two products, the next weights come in.
  const WeightStream stream = {matrix.weights_of(0), static_cast<size_t>(matrix.weights_of(together) - matrix.weights_of(0)),
                               num_items};
  const WeightStream next = begin_stream(stream);
  const int num_threads = x.rows <= kFewRows && next.start != nullptr ? pool_.num_threads() : 0;
  parallel(tiles.num_blocks * num_items, (x.rows + kRowsPerRead) * matrix.rows * matrix.cols,
           [&](size_t item, int thread) {
    const size_t panel = item % num_items * together;
    const size_t first = tiles.first(item / num_items);
    const size_t last = tiles.first(item / num_items + 1);
    char* scratch = scratch_[thread].as<char>();
    for (size_t i = 0; i < together; i++) matrix.open_panel(panel + i, last - first, scratch + i * scratch_bytes);
    alignas(64) float sums[2][kMaxRows * kPanelWidth];
    for (size_t tile = first; tile < last; tile++) {
      const size_t row = tile * tiles.rows;
      begin(row, tiles.size(tile), panel);
      for (size_t i = 0; i < together; i++) {
        const PanelTurn turn = {panel + i, panel + i + together, tile - first, last - first};
        matrix.multiply(tiles.size(tile), packed + row * row_bytes, outliers_[tile], turn, scratch + i * scratch_bytes,
                        sums[i]);
      }
      end(sums, row, tiles.size(tile), panel);
    }
    if (num_threads > 0 && item + 1 == stream.first_of(thread + 1, num_threads)) next.ask_for(thread, num_threads);
  });
}

bool CpuOps::writes_pairs(const Rows& y) const {
  const WeightMatrix* reader = kernels_.finish_packed == nullptr ? nullptr : reader_of(y);
  return reader != nullptr && reader->takes_bf16_pairs() && y.cols % kPanelWidth == 0;
}

uint32_t* CpuOps::pairs_at(const Rows& y, size_t row, int rows, size_t col) {
  return reinterpret_cast<uint32_t*>(y.data) + row * y.cols / 2 + col / 2 * rows;
}

void CpuOps::linear(const Rows& x, const Matrix& w, const Epilogue& epilogue, const Rows& y) {
  const bool pairs = epilogue.scale == nullptr && epilogue.residual == nullptr && writes_pairs(y);
  const auto begin = [&](size_t row, int rows, size_t panel) {
    if (!pairs) ask_for(y.data + row * y.stride + panel * kPanelWidth, y.stride, rows);
  };
  multiply(x, static_cast<const WeightMatrix&>(w), 1, begin, [&](const auto& sums, size_t row, int rows, size_t panel) {
    const size_t col = panel * kPanelWidth;
    TileEnd end;
    end.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + col;
    end.gelu = epilogue.activation == Activation::kGelu;
    end.scale = epilogue.scale == nullptr ? nullptr : epilogue.scale + col;
    end.residual = epilogue.residual == nullptr ? nullptr : epilogue.residual + row * epilogue.residual_stride + col;
    end.residual_stride = epilogue.residual_stride;
    end.out = y.data + row * y.stride + col;
    end.out_stride = y.stride;
    end.cols = static_cast<int>(std::min<size_t>(kPanelWidth, w.rows - col));
    if (pairs) {
      kernels_.finish_packed(sums[0], rows, end, pairs_at(y, row, rows, col));
    } else {
      kernels_.finish(sums[0], rows, end);
    }
  });
  if (pairs) packed_rows_ = y.data;
}

void CpuOps::linear_swiglu(const Rows& x, const Matrix& gate_up, const float* bias, const Rows& y) {
  const auto& matrix = static_cast<const WeightMatrix&>(gate_up);
  const bool pairs = writes_pairs(y);
  const auto begin = [&](size_t row, int rows, size_t panel) {
    if (!pairs) ask_for(y.data + row * y.stride + panel / 2 * kPanelWidth, y.stride, rows);
  };
  multiply(x, matrix, 2, begin, [&](auto& sums, size_t row, int rows, size_t panel) {
    const size_t col = panel / 2 * kPanelWidth;
    const int cols = static_cast<int>(std::min<size_t>(kPanelWidth, y.cols - col));
    if (bias != nullptr) {
      add_bias(sums[0], rows, cols, bias + col);
      add_bias(sums[1], rows, cols, bias + y.cols + col);
    }
    if (pairs) {
      kernels_.finish_swiglu_packed(sums[0], sums[1], rows, pairs_at(y, row, rows, col));
    } else {
      kernels_.finish_swiglu(sums[0], sums[1], rows, cols, y.data + row * y.stride + col, y.stride);
    }
  });
  if (pairs) packed_rows_ = y.data;
}

}  // namespace tessera::cpu
