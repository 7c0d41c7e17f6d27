/**
 * Owns the products of packed activations and weight panels, written over vec.h for every instruction set. Included by
 * each kernels_*.cpp inside its own namespace. Limit: multiply-adds while weights come from cache, bandwidth while they
 * come from memory. Expects TESSERA_TILE_ROWS, the rows whose sums fit in registers beside two vectors of columns.
 *
 * Each sum is one register that walks K in order, whatever the number of rows: that is what makes a row's bits
 * independent of its batch.
 */

constexpr int kTileRows = TESSERA_TILE_ROWS;
constexpr int kTileCols = 2 * kWidth;

// How weights of one type become vectors of kWidth columns. `kStep` consecutive elements of K lie together.

struct WeightsF32 {
  using Element = float;
  static constexpr int kStep = 1;
  static inline void columns(const Element* b, Vec out[1]) { out[0] = load(b); }
};

struct WeightsF16 {
  using Element = uint16_t;
  static constexpr int kStep = 1;
  static inline void columns(const Element* b, Vec out[1]) { out[0] = load_half(b); }
};

// Pairs of K in one 32-bit lane. The odd one is added first, as the processor's own instruction for pairs does.
struct WeightsBf16 {
  using Element = uint16_t;
  static constexpr int kStep = 2;
  static inline void columns(const Element* b, Vec out[2]) {
    const VecInt pairs = load_int(b);
    out[0] = (Vec)(pairs & splat_int(static_cast<int32_t>(0xffff0000u)));
    out[1] = (Vec)(pairs << 16);
  }
};

/** Activations are fp32, for pairs in the order odd, even: [steps][ROWS][kStep]. */
template <class Weights, int ROWS, bool ASKS>
__attribute__((noinline)) void tile_rows(const float* a_start, const typename Weights::Element* panel, size_t steps,
                                         float* c, size_t stride, bool accumulate, Ahead ahead) {
  constexpr int kStep = Weights::kStep;
  for (int col = 0; col < kPanelWidth; col += kTileCols) {
    Vec sum[ROWS][2];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) sum[r][v] = accumulate ? load(c + r * stride + col + v * kWidth) : Vec{};
    }
    const float* a = a_start;
    const auto* b = panel + col * kStep;
    for (size_t k = 0; k < steps; k++) {
      Vec w[2][kStep];
      if (ASKS && col == 0) {
        __builtin_prefetch(ahead.from + k * ahead.step, 0, ROWS <= kStreamRows ? 2 : 3);
        __builtin_prefetch(ahead.from + k * ahead.step + 64, 0, ROWS <= kStreamRows ? 2 : 3);
      }
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) Weights::columns(b + v * kWidth * kStep, w[v]);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
        for (int s = 0; s < kStep; s++) {
          const Vec x = splat(a[r * kStep + s]);
#pragma GCC unroll 2
          for (int v = 0; v < 2; v++) sum[r][v] += x * w[v][s];
        }
      }
      a += ROWS * kStep;
      b += kPanelWidth * kStep;
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) store(c + r * stride + col + v * kWidth, sum[r][v]);
    }
  }
}

template <class Weights, int ROWS = kTileRows>
inline void tile_dispatch(int rows, const void* a, const void* panel, size_t steps, float* c, size_t stride,
                          bool accumulate, Ahead ahead) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      const auto* weights = static_cast<const typename Weights::Element*>(panel);
      const auto* rows_of_a = static_cast<const float*>(a);
      if (ROWS <= kStreamRows && ahead.from == nullptr) {
        tile_rows<Weights, ROWS, (ROWS > kStreamRows)>(rows_of_a, weights, steps, c, stride, accumulate, ahead);
      } else {
        tile_rows<Weights, ROWS, true>(rows_of_a, weights, steps, c, stride, accumulate, ahead);
      }
    } else {
      tile_dispatch<Weights, ROWS - 1>(rows, a, panel, steps, c, stride, accumulate, ahead);
    }
  }
}

template <class Weights>
void tile(int rows, const void* a, const void* panel, size_t steps, float* c, size_t stride, bool accumulate,
          Ahead ahead) {
  tile_dispatch<Weights>(rows, a, panel, steps, c, stride, accumulate, ahead);
}

void pack_f32(const float* x, size_t stride, int rows, size_t k, void* packed) {
  float* out = static_cast<float*>(packed);
  for (int r = 0; r < rows; r++) {
    for (size_t i = 0; i < k; i++) out[i * rows + r] = x[r * stride + i];
  }
}

/** Rounds to bf16 but stores fp32, for instruction sets that multiply fp32. */
void pack_bf16_as_f32(const float* x, size_t stride, int rows, size_t k, void* packed) {
  float* out = static_cast<float*>(packed);
  for (int r = 0; r < rows; r++) {
    for (size_t i = 0; i < k; i += 2) {
      float* pair = out + (i * rows + 2 * r);
      pair[0] = i + 1 < k ? from_bf16(to_bf16(x[r * stride + i + 1])) : 0.0f;
      pair[1] = from_bf16(to_bf16(x[r * stride + i]));
    }
  }
}

void store_key_f32(const float* x, size_t dim, void* panel, size_t slot) {
  float* out = static_cast<float*>(panel) + slot;
  for (size_t d = 0; d < dim; d++) out[d * kPanelWidth] = x[d];
}

void store_value_f32(const float* x, size_t dim, void* panels, size_t panel_size, size_t token) {
  for (size_t d = 0; d < dim; d += kPanelWidth) {
    float* out = static_cast<float*>(panels) + d / kPanelWidth * panel_size + token * kPanelWidth;
    __builtin_memcpy(out, x + d, 4 * (dim - d < kPanelWidth ? dim - d : kPanelWidth));
  }
}

void store_key_bf16(const float* x, size_t dim, void* panel, size_t slot) {
  uint32_t* out = static_cast<uint32_t*>(panel) + slot;
  for_vectors(dim, [&](size_t d, size_t n) {
    const VecInt bits = round_to_bf16(load_n(x + d, n));
    for (size_t i = 0; i < n; i += 2) {
      out[(d + i) / 2 * kPanelWidth] = static_cast<uint32_t>(bits[i + 1]) << 16 | static_cast<uint32_t>(bits[i]);
    }
  });
}

void store_value_bf16(const float* x, size_t dim, void* panels, size_t panel_size, size_t token) {
  for (size_t first = 0; first < dim; first += kPanelWidth) {
    uint16_t* panel = static_cast<uint16_t*>(panels) + first / kPanelWidth * panel_size;
    float* pairs = reinterpret_cast<float*>(panel + token / 2 * (2 * kPanelWidth));
    for_vectors(dim - first < kPanelWidth ? dim - first : kPanelWidth, [&](size_t d, size_t n) {
      const VecInt bits = round_to_bf16(load_n(x + first + d, n));
      const VecInt old = (VecInt)load(pairs + d) & splat_int(0xffff);
      store(pairs + d, (Vec)(token % 2 == 0 ? bits : old | bits << 16));
    });
  }
}

constexpr MatrixKernel kF32Kernel = {1, 4, 4, pack_f32, tile<WeightsF32>, store_key_f32, store_value_f32};
constexpr MatrixKernel kF16Kernel = {1, 4, 2, pack_f32, tile<WeightsF16>, nullptr, nullptr};
constexpr MatrixKernel kBf16Kernel = {2, 4, 2, pack_bf16_as_f32, tile<WeightsBf16>, store_key_bf16, store_value_bf16};
