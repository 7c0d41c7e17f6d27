/**
 * Owns the inner loops of quantised weights, written over vec.h for every instruction set. Included by each
 * kernels_*.cpp inside its own namespace, after tiles.h. Limit: as in tiles.h. Sums of int8 products are whole numbers,
 * so they are the same on every set. Expects of the set:
 *   round_to_int(x), store_bytes(whole, p), store_words(whole, p)  to nearest even; the low byte, or two, of each lane
 *   Int8Columns, split_columns(weights), add_products(sum, columns, four activations)  sums of 4 products a lane
 */

/** The largest of positive lanes. */
inline int32_t largest_lane(VecInt v) {
#if TESSERA_VEC_BYTES == 64
  return _mm512_reduce_max_epi32((__m512i)v);
#else
  int32_t lanes[kWidth];
  __builtin_memcpy(lanes, &v, sizeof v);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
  }
  return lanes[0];
#endif
}

inline VecInt magnitude_bits(Vec v) { return (VecInt)v & splat_int(0x7fffffff); }

/** The largest magnitude; infinity or NaN where not all are numbers. Magnitudes are in the order of their bits. */
inline float largest_magnitude(const float* x, size_t n) {
  VecInt largest = {};
  for_vectors(n, [&](size_t i, size_t m) {
    const VecInt bits = magnitude_bits(load_n(x + i, m));
    largest = bits > largest ? bits : largest;
  });
  const int32_t bits = largest_lane(largest);
  float out;
  __builtin_memcpy(&out, &bits, 4);
  return out;
}

/** The largest magnitude below `limit`. */
inline float largest_below(const float* x, size_t n, float limit) {
  Vec largest = {};
  for_vectors(n, [&](size_t i, size_t m) {
    const VecInt bits = magnitude_bits(load_n(x + i, m));
    const Vec kept = (Vec)(bits & ((Vec)bits < splat(limit)));
    largest = kept > largest ? kept : largest;
  });
  const int32_t bits = largest_lane((VecInt)largest);
  float out;
  __builtin_memcpy(&out, &bits, 4);
  return out;
}

/** Columns that are turned into codes at a time. */
constexpr size_t kCodeRun = 64;

/** How a row becomes codes. */
struct RowScale {
  float scale;  // of a code
  float factor;
  bool has_outliers;
};

inline RowScale row_scale(const float* x, size_t k, float limit) {
  float largest = largest_magnitude(x, k);
  const bool has_outliers = !(largest < limit);
  if (has_outliers) largest = largest_below(x, k, limit);
  // Below this the factor would overflow; such a row is as good as zero.
  if (!(largest > 1e-30f)) return {0, 0, has_outliers};
  return {largest / 127.0f, 1.0f / largest * 127.0f, has_outliers};
}

/** `count` columns to codes from 1 to 255, zero being 128, fours `rows` apart; magnitudes from `limit` on become zero. */
inline void write_codes(const float* x, size_t count, float limit, const RowScale& scale, int rows, uint32_t* out) {
  alignas(64) uint8_t codes[kCodeRun];
  if (count < kCodeRun) __builtin_memset(codes, 128, kCodeRun);
  for_vectors(count, [&](size_t i, size_t m) {
    Vec v = load_n(x + i, m);
    if (scale.has_outliers) v = (Vec)((VecInt)v & ((Vec)magnitude_bits(v) < splat(limit)));
    store_bytes(round_to_int(v * splat(scale.factor)) + splat_int(128), codes + i);
  });
  for (size_t i = 0; i < count; i += 4) __builtin_memcpy(out + i / 4 * rows, codes + i, 4);
}

float quantise_row(const float* x, size_t k, int row, int rows, void* packed) {
  const float limit = __builtin_inff();
  const RowScale scale = row_scale(x, k, limit);
  uint32_t* out = static_cast<uint32_t*>(packed) + row;
  for (size_t first = 0; first < k; first += kCodeRun) {
    const size_t count = k - first < kCodeRun ? k - first : kCodeRun;
    write_codes(x + first, count, limit, scale, rows, out + first / 4 * rows);
  }
  return scale.scale;
}

void quantise_tile(const float* x, size_t stride, int rows, size_t k, float limit, void* packed, float* scales,
                   bool* has_outliers) {
  RowScale of[kMaxRows];
  for (int r = 0; r < rows; r++) {
    of[r] = row_scale(x + r * stride, k, limit);
    scales[r] = of[r].scale;
    has_outliers[r] = of[r].has_outliers;
  }
  // Columns before rows: what is written lies together.
  uint32_t* out = static_cast<uint32_t*>(packed);
  for (size_t first = 0; first < k; first += kCodeRun) {
    const size_t count = k - first < kCodeRun ? k - first : kCodeRun;
    for (int r = 0; r < rows; r++) {
      write_codes(x + r * stride + first, count, limit, of[r], rows, out + first / 4 * rows + r);
    }
  }
}

/** 128 bytes of what a product asks for: into L2, from where the processor fetches one stream by itself, or into L1. */
template <int ROWS>
inline void ask_ahead(const char* next) {
  for (size_t line = 0; line < 128; line += 64) __builtin_prefetch(next + line, 0, ROWS <= kStreamRows ? 2 : 3);
}

template <int ROWS, bool ASKS>
__attribute__((noinline)) void int8_rows(const uint32_t* a_start, const char* panel, size_t steps,
                                         const float* row_scales, const float* scales, const int32_t* corrections,
                                         float* c, const char* next) {
  constexpr size_t kStepBytes = 4 * kPanelWidth;
  for (int col = 0; col < kPanelWidth; col += kTileCols) {
    VecInt sum[ROWS][2] = {};
    const uint32_t* a = a_start;
    const char* b = panel + col * 4;
    for (size_t k = 0; k < steps; k++) {
      if (ASKS && col == 0) ask_ahead<ROWS>(next + k * kStepBytes);
      Int8Columns w[2];
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) w[v] = split_columns(load_int(b + v * kWidth * 4));
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) add_products(sum[r], w, a[r]);
      a += ROWS;
      b += kStepBytes;
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) {
        const int at = col + v * kWidth;
        const Vec whole = __builtin_convertvector(sum[r][v] - load_int(corrections + at), Vec);
        store(c + r * kPanelWidth + at, whole * (load(scales + at) * splat(row_scales[r])));
      }
    }
  }
}

template <int ROWS = kTileRows>
inline void int8_dispatch(int rows, const uint32_t* a, const char* panel, size_t steps, const float* row_scales,
                          const float* scales, const int32_t* corrections, float* c, const char* next) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      if (ROWS <= kStreamRows && next == nullptr) {
        int8_rows<ROWS, (ROWS > kStreamRows)>(a, panel, steps, row_scales, scales, corrections, c, next);
      } else {
        int8_rows<ROWS, (ROWS <= kFewRows)>(a, panel, steps, row_scales, scales, corrections, c, next);
      }
    } else {
      int8_dispatch<ROWS - 1>(rows, a, panel, steps, row_scales, scales, corrections, c, next);
    }
  }
}

void int8_tile(int rows, const void* a, const void* panel, size_t steps, const float* row_scales, const float* scales,
               const int32_t* corrections, float* c, const void* next) {
  int8_dispatch(rows, static_cast<const uint32_t*>(a), static_cast<const char*>(panel), steps, row_scales, scales,
                corrections, c, static_cast<const char*>(next));
}

void int8_add_column(const void* panel, size_t col, float value, const float* scales, float* c) {
  const char* b = static_cast<const char*>(panel) + col / 4 * (4 * kPanelWidth);
  const int shift = 24 - 8 * static_cast<int>(col % 4);
  for (int at = 0; at < kPanelWidth; at += kWidth) {
    const VecInt whole = (load_int(b + at * 4) << shift) >> 24;
    const Vec weight = __builtin_convertvector(whole, Vec) * load(scales + at);
    store(c + at, load(c + at) + splat(value) * weight);
  }
}

/** A row to codes of two bytes from 1 to 65,535, zero being 32,768. */
float quantise_wide_row(const float* x, size_t k, int row, int rows, void* packed) {
  const float largest = largest_magnitude(x, k);
  const bool has_others = !(largest < __builtin_inff());
  const float factor = largest > 1e-30f && !has_others ? 32767.0f / largest : 0.0f;
  uint32_t* out = static_cast<uint32_t*>(packed) + 2 * row;
  for (size_t first = 0; first < k; first += kCodeRun) {
    const size_t count = k - first < kCodeRun ? k - first : kCodeRun;
    alignas(64) uint8_t high[kCodeRun], low[kCodeRun];
    if (count < kCodeRun) {
      __builtin_memset(high, 128, kCodeRun);
      __builtin_memset(low, 0, kCodeRun);
    }
    for_vectors(count, [&](size_t i, size_t m) {
      // A row with what is no number is written as zeros.
      const VecInt code = (factor == 0 ? VecInt{} : round_to_int(load_n(x + first + i, m) * splat(factor))) + splat_int(32768);
      store_bytes(code >> 8, high + i);
      store_bytes(code & splat_int(255), low + i);
    });
    for (size_t i = 0; i < count; i += 4) {
      uint32_t* to = out + (first + i) / 4 * (2 * rows);
      __builtin_memcpy(to, high + i, 4);
      __builtin_memcpy(to + 1, low + i, 4);
    }
  }
  if (has_others) return __builtin_nanf("");
  return factor > 0 ? largest / 32767.0f : 0.0f;
}

/** Rows of wide activations whose sums, two for each, fit in registers. */
constexpr int kWideRows = kTileRows / 2;

/** A row's activations are `stride` words apart from step to step. */
template <int ROWS, bool ASKS>
__attribute__((noinline)) void int8_wide_rows(const uint32_t* a_start, size_t stride, const char* panel, size_t steps,
                                              const float* row_scales, const float* scales, const int32_t* corrections,
                                              float* c, const char* next) {
  constexpr size_t kStepBytes = 4 * kPanelWidth;
  for (int col = 0; col < kPanelWidth; col += kTileCols) {
    VecInt sum[2 * ROWS][2] = {};
    const uint32_t* a = a_start;
    const char* b = panel + col * 4;
    for (size_t k = 0; k < steps; k++) {
      if (ASKS && col == 0) ask_ahead<ROWS>(next + k * kStepBytes);
      Int8Columns w[2];
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) w[v] = split_columns(load_int(b + v * kWidth * 4));
#pragma GCC unroll 16
      for (int r = 0; r < 2 * ROWS; r++) add_products(sum[r], w, a[r]);
      a += stride;
      b += kStepBytes;
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) {
        const int at = col + v * kWidth;
        // Times 256 is exact, so that fused or not it is the same.
        const Vec high = __builtin_convertvector(sum[2 * r][v] - load_int(corrections + at), Vec);
        const Vec whole = high * splat(256.0f) + __builtin_convertvector(sum[2 * r + 1][v], Vec);
        store(c + r * kPanelWidth + at, whole * (load(scales + at) * splat(row_scales[r])));
      }
    }
  }
}

template <int ROWS = kWideRows>
inline void int8_wide_dispatch(int rows, const uint32_t* a, size_t stride, const char* panel, size_t steps,
                               const float* row_scales, const float* scales, const int32_t* corrections, float* c,
                               const char* next) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      if (ROWS <= kStreamRows && next == nullptr) {
        int8_wide_rows<ROWS, (ROWS > kStreamRows)>(a, stride, panel, steps, row_scales, scales, corrections, c, next);
      } else {
        int8_wide_rows<ROWS, true>(a, stride, panel, steps, row_scales, scales, corrections, c, next);
      }
    } else {
      int8_wide_dispatch<ROWS - 1>(rows, a, stride, panel, steps, row_scales, scales, corrections, c, next);
    }
  }
}

void int8_wide_tile(int rows, const void* a, const void* panel, size_t steps, const float* row_scales,
                    const float* scales, const int32_t* corrections, float* c, const void* next) {
  const int num_passes = (rows + kWideRows - 1) / kWideRows;
  for (int pass = 0; pass < num_passes; pass++) {
    const int first = rows * pass / num_passes;
    const int last = rows * (pass + 1) / num_passes;
    int8_wide_dispatch(last - first, static_cast<const uint32_t*>(a) + 2 * first, 2 * static_cast<size_t>(rows),
                       static_cast<const char*>(panel), steps, row_scales + first, scales, corrections,
                       c + first * kPanelWidth, static_cast<const char*>(next));
  }
}

constexpr Int8Kernel kInt8Kernel = {quantise_row,    quantise_tile,     int8_tile,
                                    int8_add_column, quantise_wide_row, int8_wide_tile};
