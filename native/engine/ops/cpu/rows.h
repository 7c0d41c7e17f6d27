/**
 * Owns the loops over one row: norms, softmax, and what happens to a tile of results. Included by each kernels_*.cpp
 * after vec.h, inside its own namespace. Memory-bound or small beside the products; written for any length.
 */

void finish(const float* tile, int rows, const TileEnd& end) {
  for (int r = 0; r < rows; r++) {
    const float* row = tile + r * kPanelWidth;
    float* out = end.out + r * end.out_stride;
    const float* residual = end.residual == nullptr ? nullptr : end.residual + r * end.residual_stride;
    for_vectors(end.cols, [&](size_t i, size_t n) {
      Vec v = load(row + i);
      if (end.bias != nullptr) v += load_n(end.bias + i, n);
      if (end.gelu) v = gelu(v);
      if (end.scale != nullptr) v *= load_n(end.scale + i, n);
      if (residual != nullptr) v += load_n(residual + i, n);
      store_n(out + i, v, n);
    });
  }
}

void finish_swiglu(const float* gate, const float* up, int rows, int cols, float* out, size_t out_stride) {
  for (int r = 0; r < rows; r++) {
    for_vectors(cols, [&](size_t i, size_t n) {
      const Vec v = silu(load(gate + r * kPanelWidth + i)) * load(up + r * kPanelWidth + i);
      store_n(out + r * out_stride + i, v, n);
    });
  }
}

void layer_norm(const float* x, size_t n, const float* weight, const float* bias, float eps, float* y) {
  Vec total = {};
  for_vectors(n, [&](size_t i, size_t m) { total += load_n(x + i, m); });
  const float mean = sum_lanes(total) / static_cast<float>(n);
  Vec squares = {};
  for_vectors(n, [&](size_t i, size_t m) {
    const Vec d = keep_first(load_n(x + i, m) - splat(mean), m);
    squares += d * d;
  });
  const float inverse = 1.0f / __builtin_sqrtf(sum_lanes(squares) / static_cast<float>(n) + eps);
  for_vectors(n, [&](size_t i, size_t m) {
    const Vec normal = (load_n(x + i, m) - splat(mean)) * splat(inverse);
    store_n(y + i, normal * load_n(weight + i, m) + load_n(bias + i, m), m);
  });
}

void rms_norm(const float* x, size_t n, const float* weight, float eps, float* y) {
  Vec squares = {};
  for_vectors(n, [&](size_t i, size_t m) {
    const Vec v = load_n(x + i, m);
    squares += v * v;
  });
  const float inverse = 1.0f / __builtin_sqrtf(sum_lanes(squares) / static_cast<float>(n) + eps);
  for_vectors(n, [&](size_t i, size_t m) {
    store_n(y + i, load_n(x + i, m) * splat(inverse) * load_n(weight + i, m), m);
  });
}

// Trailing columns at -inf add exact zeros to the sum, so a row masked further out has the same bits.
float softmax(float* row, size_t n, float scale) {
  constexpr size_t kLanes = 32;
  constexpr int kVectors = kLanes / kWidth;
  Vec largest[kVectors];
  for (int v = 0; v < kVectors; v++) largest[v] = splat(-__builtin_inff());
  for (size_t i = 0; i < n; i += kLanes) {
    for (int v = 0; v < kVectors; v++) {
      const Vec x = load(row + i + v * kWidth);
      largest[v] = x > largest[v] ? x : largest[v];
    }
  }
  float max = -__builtin_inff();
  for (int v = 0; v < kVectors; v++) {
    for (int i = 0; i < kWidth; i++) max = largest[v][i] > max ? largest[v][i] : max;
  }
  // The rounding of max * base shifts the whole row alike, which the division by the sum takes out again.
  const float base = scale * 1.44269504088896341f;
  const Vec shift = splat(max * base);
  Vec total[kVectors] = {};
  for (size_t i = 0; i < n; i += kLanes) {
    for (int v = 0; v < kVectors; v++) {
      const Vec x = exp2_of_negative(load(row + i + v * kWidth) * splat(base) - shift);
      store(row + i + v * kWidth, x);
      total[v] += x;
    }
  }
  for (int v = 1; v < kVectors; v++) total[0] += total[v];
  return sum_lanes(total[0]);
}

double exp_sum(const float* x, size_t n, float max, float scale) {
  constexpr size_t kRun = 1024;  // what fp32 adds up before fp64 does
  double total = 0;
  for (size_t first = 0; first < n; first += kRun) {
    const size_t count = n - first < kRun ? n - first : kRun;
    Vec run = {};
    for_vectors(count, [&](size_t i, size_t m) {
      run += keep_first(exp((load_n(x + first + i, m) - splat(max)) * splat(scale)), m);
    });
    total += sum_lanes(run);
  }
  return total;
}

float largest(const float* x, size_t n) {
  constexpr int kSums = 4;  // so that one comparison need not wait for the one before it
  Vec most[kSums];
  VecInt ordered[kSums];
  for (int v = 0; v < kSums; v++) most[v] = splat(-__builtin_inff());
  for (int v = 0; v < kSums; v++) ordered[v] = splat_int(-1);
  size_t i = 0;
  for (; i + kSums * kWidth <= n; i += kSums * kWidth) {
#pragma GCC unroll 4
    for (int v = 0; v < kSums; v++) {
      const Vec value = load(x + i + v * kWidth);
      ordered[v] &= value == value;
      most[v] = value > most[v] ? value : most[v];
    }
  }
  float max = -__builtin_inff();
  for (int v = 0; v < kSums; v++) {
    for (int lane = 0; lane < kWidth; lane++) {
      if (ordered[v][lane] == 0) return __builtin_nanf("");
      max = most[v][lane] > max ? most[v][lane] : max;
    }
  }
  for (; i < n; i++) {
    if (x[i] != x[i]) return x[i];
    max = x[i] > max ? x[i] : max;
  }
  return max;
}

void scale(const float* x, size_t n, float factor, float* y) {
  for_vectors(n, [&](size_t i, size_t m) { store_n(y + i, load_n(x + i, m) * splat(factor), m); });
}
