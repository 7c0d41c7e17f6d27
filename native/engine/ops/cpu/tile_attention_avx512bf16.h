/**
 * Owns the attention of a tile over itself with AVX-512, BF16 and VNNI: a few rows of queries against all keys of a head.
 * Included by kernels_avx512bf16.cpp inside its own namespace, after tiles.h and quant_tiles.h. Limit: multiply-adds; all
 * that is written in between stays in L1.
 *
 * Probabilities are made as bf16 right away: a score becomes a whole number of 128ths of an octave, whose upper part is the
 * exponent and whose lower part is looked up: one rounding more than bf16's own, and as fine. A row is scaled by its
 * largest score among the first 32 keys, since floating point loses nothing where a later one is larger; where it is so
 * much larger that sums might overflow, the row is done again, scaled by the largest of all.
 */

/** Rows of queries share one step of addresses by threes. */
constexpr int kRowsPerPointer = 3;
constexpr int kOctave = 128;
/** What 1 is as bf16. */
constexpr float kOne = 127 * kOctave;
constexpr float kInfinity = 255 * kOctave;
/** A row whose sum is not below this is done again: products with values must not overflow either. */
constexpr float kLargestSum = 0x1p64f;

constexpr size_t lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
/** An odd number of cache lines: rows so far apart do not share the same places in L1. */
constexpr size_t odd_lines(size_t bytes) { return lines(bytes) / 64 % 2 == 1 ? lines(bytes) : lines(bytes) + 64; }

/** Where the parts of a head's packed keys and values are, and of the scratch that a few rows of queries take; in bytes. */
struct TilePlan {
  size_t blocks;        // of 32 keys
  size_t key_steps;     // groups of 4 bytes of a key
  size_t block_bytes;   // of keys
  size_t value_pairs;   // of tokens
  size_t value_panels;
  size_t scales, starts, centre, values, packed_bytes;  // the first three of int8 scores
  size_t query_stride, weight_stride;  // from row to row
  size_t scores, weights, sums, out, scratch_bytes;
};

inline TilePlan plan_tile(const TileShape& shape) {
  TilePlan p;
  p.blocks = (shape.tokens + kPanelWidth - 1) / kPanelWidth;
  p.key_steps = shape.int8_scores ? (shape.head_dim + 3) / 4 : (shape.head_dim + 1) / 2;
  p.block_bytes = p.key_steps * 4 * kPanelWidth;
  p.value_pairs = (shape.tokens + 1) / 2;
  p.value_panels = (shape.head_dim + kPanelWidth - 1) / kPanelWidth;
  p.scales = p.blocks * p.block_bytes;
  p.starts = p.scales + (shape.int8_scores ? p.blocks * kPanelWidth * 4 : 0);
  p.centre = p.starts + (shape.int8_scores ? p.blocks * kPanelWidth * 4 : 0);
  p.values = p.centre + (shape.int8_scores ? 2 * lines(shape.head_dim * 4) : 0);
  p.packed_bytes = p.values + p.value_panels * p.value_pairs * 4 * kPanelWidth;
  p.query_stride = odd_lines(p.key_steps * 4);
  p.weight_stride = odd_lines(p.blocks * kPanelWidth * 2);
  p.scores = kTileRows * p.query_stride;
  p.weights = p.scores + kTileRows * kPanelWidth * 4;
  p.sums = p.weights + kTileRows * p.weight_stride;
  p.out = p.sums + kTileRows * 64;
  p.scratch_bytes = p.out + kTileRows * p.value_panels * kPanelWidth * 4;
  return p;
}

size_t tile_packed_bytes(const TileShape& shape) { return plan_tile(shape).packed_bytes; }
size_t tile_scratch_bytes(const TileShape& shape) { return plan_tile(shape).scratch_bytes; }

/** The column of its block's panel where a key goes: two vectors of scores packed to words are then in the keys' order. */
constexpr size_t key_column(size_t key) { return key % 8 / 4 * 16 + key / 8 * 4 + key % 4; }

/** c [ROWS][32] = a * panel; rows of a are `a_stride` bytes apart, pairs of bf16 or fours of bytes together. */
template <int ROWS, class Add>
__attribute__((noinline)) void plain_rows(const char* a, size_t a_stride, const char* b, size_t steps, char* c,
                                          size_t c_stride, const int32_t* start, Add) {
  typename Add::Sum sum[ROWS][2];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) sum[r][v] = Add::first(start, v);
  }
  const char* rows[(ROWS + kRowsPerPointer - 1) / kRowsPerPointer];
#pragma GCC unroll 5
  for (int r = 0; r < ROWS; r += kRowsPerPointer) rows[r / kRowsPerPointer] = a + r * a_stride;
  for (size_t k = 0; k < steps; k++, b += 4 * kPanelWidth) {
    const __m512i w[2] = {_mm512_load_si512(b), _mm512_load_si512(b + 64)};
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      int32_t group;
      __builtin_memcpy(&group, rows[r / kRowsPerPointer] + r % kRowsPerPointer * a_stride, 4);
      __m512i x = _mm512_set1_epi32(group);
      asm("" : "+v"(x));  // one broadcast for both products, not one each
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) Add::add(sum[r][v], w[v], x);
    }
#pragma GCC unroll 5
    for (int r = 0; r < ROWS; r += kRowsPerPointer) rows[r / kRowsPerPointer] += 4;
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) __builtin_memcpy(c + r * c_stride + v * 64, &sum[r][v], 64);
  }
}

struct AddPairs {
  using Sum = __m512;
  static inline Sum first(const int32_t*, int) { return _mm512_setzero_ps(); }
  static inline void add(Sum& sum, __m512i w, __m512i x) { sum = _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x); }
};

struct AddBytes {
  using Sum = __m512i;
  static inline Sum first(const int32_t* start, int v) { return _mm512_load_si512(start + 16 * v); }
  // As in `add_products`.
  static inline void add(Sum& sum, __m512i w, __m512i x) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w)); }
};

template <bool INT8>
struct ScoreAdd : AddPairs {};
template <>
struct ScoreAdd<true> : AddBytes {};

template <class Add, int ROWS = kTileRows>
inline void dispatch_plain(int rows, const char* a, size_t a_stride, const char* b, size_t steps, char* c,
                           size_t c_stride, const int32_t* start) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      plain_rows<ROWS>(a, a_stride, b, steps, c, c_stride, start, Add{});
    } else {
      dispatch_plain<Add, ROWS - 1>(rows, a, a_stride, b, steps, c, c_stride, start);
    }
  }
}

/** Rows are too far apart for the processor to guess the next ones. */
inline void ask_for_row(const float* row, size_t count) {
  for (size_t i = 0; i < count; i += 16) _mm_prefetch(row + i, _MM_HINT_T0);
}
constexpr size_t kRowsAhead = 8;

/** A row of numbers to signed codes, fours `step` words apart; returns what 1 is, NaN of a row with what is no number. */
inline float write_signed_codes(const float* x, size_t k, size_t step, uint32_t* out, int32_t* sum) {
  const RowScale scale = row_scale(x, k, __builtin_inff());
  __m512i total = _mm512_setzero_si512();
  for_vectors(k, [&](size_t d, size_t n) {
    const VecInt whole = round_to_int(load_n(x + d, n) * splat(scale.factor));
    total = _mm512_add_epi32(total, (__m512i)whole);
    alignas(16) uint32_t fours[kWidth / 4];
    store_bytes(whole, reinterpret_cast<uint8_t*>(fours));
    for (size_t i = 0; i < n; i += 4) out[(d + i) / 4 * step] = fours[i / 4];
  });
  // Of what is no number codes may be anything, and are multiplied with NaN.
  *sum = scale.has_outliers ? 0 : _mm512_reduce_add_epi32(total);
  return scale.has_outliers ? __builtin_nanf("") : scale.scale;
}

/**
 * Keys to int8, with what they have in common taken out: that moves all scores of a row alike, which softmax does not
 * see, and leaves the scale to what tells keys apart.
 */
inline void pack_int8_keys(const TileShape& shape, const TilePlan& plan, const float* keys, size_t stride, char* out) {
  float* scales = reinterpret_cast<float*>(out + plan.scales);
  int32_t* starts = reinterpret_cast<int32_t*>(out + plan.starts);
  float* centre = reinterpret_cast<float*>(out + plan.centre);
  float* row = centre + lines(shape.head_dim * 4) / 4;
  for (size_t d = 0; d < shape.head_dim; d++) centre[d] = 0;
  for (size_t t = 0; t < shape.tokens; t++) {
    const float* key = keys + t * stride;
    ask_for_row(key + kRowsAhead * stride, shape.head_dim);
    for_vectors(shape.head_dim, [&](size_t d, size_t n) {
      store_n(centre + d, load_n(centre + d, n) + load_n(key + d, n), n);
    });
  }
  scale(centre, shape.head_dim, 1.0f / static_cast<float>(shape.tokens), centre);
  for (size_t t = 0; t < shape.tokens; t++) {
    const float* key = keys + t * stride;
    for_vectors(shape.head_dim, [&](size_t d, size_t n) {
      store_n(row + d, load_n(key + d, n) - load_n(centre + d, n), n);
    });
    const size_t column = key_column(t % kPanelWidth);
    const size_t at = t / kPanelWidth * kPanelWidth + column;
    uint32_t* fours = reinterpret_cast<uint32_t*>(out + t / kPanelWidth * plan.block_bytes) + column;
    int32_t sum;
    scales[at] = write_signed_codes(row, shape.head_dim, kPanelWidth, fours, &sum);
    starts[at] = -128 * sum;  // queries are stored 128 too large
  }
}

void pack_tile(const TileShape& shape, const float* keys, const float* values, size_t stride, void* packed) {
  const TilePlan plan = plan_tile(shape);
  char* out = static_cast<char*>(packed);
  if (shape.int8_scores) pack_int8_keys(shape, plan, keys, stride, out);
  for (size_t t = 0; t < shape.tokens; t++) {
    const float* key = keys + t * stride;
    const float* value = values + t * stride;
    if (!shape.int8_scores) {
      ask_for_row(key + kRowsAhead * stride, shape.head_dim);
      store_key_bf16(key, shape.head_dim, out + t / kPanelWidth * plan.block_bytes, key_column(t % kPanelWidth));
    }
    ask_for_row(value + kRowsAhead * stride, shape.head_dim);
    store_value_bf16(value, shape.head_dim, out + plan.values, plan.value_pairs * 2 * kPanelWidth, t);
  }
}

/** 2^(i / 128) as bf16, less the exponent. */
struct OctaveTable {
  alignas(64) int16_t mantissa[kOctave];
};
constexpr OctaveTable make_octave() {
  OctaveTable out{};
  double power = 1;
  for (int i = 0; i < kOctave; i++) {
    out.mantissa[i] = static_cast<int16_t>((power - 1) * kOctave + 0.5);
    power *= 1.0054299011128028213;  // 2^(1 / 128)
  }
  return out;
}
constexpr OctaveTable kOctaveTable = make_octave();

/** How a row's scores become 128ths of an octave: score * factor + offset. */
struct RowExponent {
  float factor, offset;
};

/** Probabilities of 32 keys, in bf16, for a row of scores in the columns of `key_column`. */
template <bool INT8>
struct Octaves {
  __m512i table[4];
  __m512 scale[2];  // of keys

  inline explicit Octaves(const float* scales) {
    if (INT8) {
      for (int v = 0; v < 2; v++) scale[v] = _mm512_load_ps(scales + 16 * v);
    }
    for (int i = 0; i < 4; i++) table[i] = _mm512_load_si512(kOctaveTable.mantissa + 32 * i);
  }
  inline __m512 score(const float* scores, int v) const {
    if constexpr (!INT8) return _mm512_load_ps(scores + 16 * v);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(scores + 16 * v)), scale[v]);
  }
  inline __m512i probabilities(const float* scores, const RowExponent& row) const {
    __m512i whole[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
      const __m512 t = _mm512_fmadd_ps(score(scores, v), _mm512_set1_ps(row.factor), _mm512_set1_ps(row.offset));
      whole[v] = _mm512_cvtps_epi32(_mm512_min_ps(t, _mm512_set1_ps(kInfinity)));  // of NaN: infinity
    }
    const __m512i words = _mm512_packus_epi32(whole[0], whole[1]);  // below 0: 0
    const __mmask32 upper = _mm512_test_epi16_mask(words, _mm512_set1_epi16(64));
    __m512i mantissa = _mm512_permutex2var_epi16(table[0], words, table[1]);
    mantissa = _mm512_mask_mov_epi16(mantissa, upper, _mm512_permutex2var_epi16(table[2], words, table[3]));
    // mask ? mantissa : words
    return _mm512_ternarylogic_epi32(_mm512_set1_epi16(kOctave - 1), mantissa, words, 0xca);
  }
};

/** The larger of `so_far` and the valid ones of 32 scores. */
inline float largest_score(__m512 a, __m512 b, uint32_t valid, float so_far) {
  const __m512 least = _mm512_set1_ps(-__builtin_inff());
  const float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_mask_mov_ps(least, static_cast<__mmask16>(valid), a),
                                                        _mm512_mask_mov_ps(least, static_cast<__mmask16>(valid >> 16), b)));
  return most > so_far ? most : so_far;
}

/** A few rows of queries on their way over a packed head. */
template <bool INT8>
struct TileRows {
  const TileShape& shape;
  const TilePlan plan = plan_tile(shape);
  const char* packed;
  char* scratch;
  int rows;
  RowExponent exponents[kTileRows];

  float* scores() const { return reinterpret_cast<float*>(scratch + plan.scores); }
  float* sums() const { return reinterpret_cast<float*>(scratch + plan.sums); }
  /** Bits of the first `count` of 32. */
  static uint32_t first_bits(size_t count) { return count == 32 ? ~0u : (1u << count) - 1; }
  size_t keys_of(size_t block) const { return block + 1 < plan.blocks ? kPanelWidth : shape.tokens - block * kPanelWidth; }

  void take(const float* queries, size_t stride) {
    const float unit = kOctave * 1.44269504088896341f / __builtin_sqrtf(static_cast<float>(shape.head_dim));
    for (int r = 0; r < rows; r++) {
      const float* q = queries + r * stride;
      char* to = scratch + r * plan.query_stride;
      exponents[r].factor = unit;
      if constexpr (INT8) {
        const RowScale scale = row_scale(q, shape.head_dim, __builtin_inff());
        exponents[r].factor *= scale.has_outliers ? __builtin_nanf("") : scale.scale;
        for_vectors(shape.head_dim, [&](size_t d, size_t n) {
          const VecInt codes = round_to_int(load_n(q + d, n) * splat(scale.factor)) + splat_int(128);
          store_bytes(codes, reinterpret_cast<uint8_t*>(to + d));
        });
        continue;
      }
      for (size_t d = 0; d < shape.head_dim; d += 32) {
        const uint32_t valid = first_bits(shape.head_dim - d < 32 ? shape.head_dim - d : 32);
        _mm512_store_si512(to + 2 * d, (__m512i)_mm512_cvtne2ps_pbh(
            _mm512_maskz_loadu_ps(static_cast<__mmask16>(valid >> 16), q + d + 16),
            _mm512_maskz_loadu_ps(static_cast<__mmask16>(valid), q + d)));
      }
    }
  }

  void score(size_t block) const {
    dispatch_plain<ScoreAdd<INT8>>(rows, scratch, plan.query_stride, packed + block * plan.block_bytes, plan.key_steps,
                        reinterpret_cast<char*>(scores()), kPanelWidth * 4,
                        reinterpret_cast<const int32_t*>(packed + plan.starts) + block * kPanelWidth);
  }

  Octaves<INT8> octaves(size_t block) const {
    return Octaves<INT8>(reinterpret_cast<const float*>(packed + plan.scales) + block * kPanelWidth);
  }

  void find_largest(size_t block, float* most) const {
    const Octaves<INT8> octaves = this->octaves(block);
    uint32_t valid = 0;
    for (size_t key = 0; key < keys_of(block); key++) valid |= 1u << key_column(key);
    for (int r = 0; r < rows; r++) {
      const float* s = scores() + r * kPanelWidth;
      most[r] = largest_score(octaves.score(s, 0), octaves.score(s, 1), valid, most[r]);
    }
  }

  void weigh(size_t block) const {
    const Octaves<INT8> octaves = this->octaves(block);
    const __mmask32 valid = first_bits(keys_of(block));
    const __m512i ones = _mm512_set1_epi16(127 * kOctave);
    char* to = scratch + plan.weights + block * 64;
    for (int r = 0; r < rows; r++, to += plan.weight_stride) {
      const __m512i weights =
          _mm512_maskz_mov_epi16(valid, octaves.probabilities(scores() + r * kPanelWidth, exponents[r]));
      _mm512_store_si512(to, weights);
      float* sum = sums() + 16 * r;
      _mm512_store_ps(sum, _mm512_dpbf16_ps(_mm512_load_ps(sum), (__m512bh)weights, (__m512bh)ones));
    }
  }

  /** Weights of all keys, and the sum of each row's. */
  void weigh_all(float* totals) {
    float most[kTileRows];
    for (int r = 0; r < rows; r++) most[r] = -__builtin_inff();
    for (bool again = false;; again = true) {
      for (int i = 0; i < 16 * rows; i++) sums()[i] = 0;
      for (size_t block = 0; block < plan.blocks; block++) {
        score(block);
        if (block == 0 && !again) {
          find_largest(0, most);
          for (int r = 0; r < rows; r++) exponents[r].offset = kOne - most[r] * exponents[r].factor;
        }
        weigh(block);
      }
      bool fit = true;
      for (int r = 0; r < rows; r++) {
        totals[r] = sum_lanes(load(sums() + 16 * r));
        fit = fit && totals[r] < kLargestSum;
      }
      if (fit || again) return;
      for (size_t block = 1; block < plan.blocks; block++) {
        score(block);
        find_largest(block, most);
      }
      for (int r = 0; r < rows; r++) {
        if (!(totals[r] < kLargestSum)) exponents[r].offset = kOne - most[r] * exponents[r].factor;
      }
    }
  }

  void multiply_values(const float* totals, float* y, size_t y_stride) const {
    float* out = reinterpret_cast<float*>(scratch + plan.out);
    const size_t stride = plan.value_panels * kPanelWidth;
    for (size_t p = 0; p < plan.value_panels; p++) {
      dispatch_plain<AddPairs>(rows, scratch + plan.weights, plan.weight_stride,
                               packed + plan.values + p * plan.value_pairs * 4 * kPanelWidth, plan.value_pairs,
                               reinterpret_cast<char*>(out + p * kPanelWidth), stride * 4, nullptr);
    }
    for (int r = 0; r < rows; r++) scale(out + r * stride, shape.head_dim, 1.0f / totals[r], y + r * y_stride);
  }
};

template <bool INT8>
void attend_rows(const TileShape& shape, const void* packed, const float* queries, size_t stride, int rows,
                 void* scratch, float* y, size_t y_stride) {
  TileRows<INT8> tile{.shape = shape,
                      .packed = static_cast<const char*>(packed),
                      .scratch = static_cast<char*>(scratch),
                      .rows = rows,
                      .exponents = {}};
  float totals[kTileRows];
  tile.take(queries, stride);
  // The next rows, and where these go: each is a page of its own.
  for (int r = 0; r < rows; r++) {
    ask_for_row(queries + (rows + r) * stride, shape.head_dim);
    for (size_t d = 0; d < shape.head_dim; d += 16) __builtin_prefetch(y + r * y_stride + d, 1);
  }
  tile.weigh_all(totals);
  tile.multiply_values(totals, y, y_stride);
}

void attend_tile(const TileShape& shape, const void* packed, const float* queries, size_t stride, int rows,
                 void* scratch, float* y, size_t y_stride) {
  const auto attend = shape.int8_scores ? attend_rows<true> : attend_rows<false>;
  attend(shape, packed, queries, stride, rows, scratch, y, y_stride);
}

constexpr TileAttentionKernel kTileAttention = {tile_packed_bytes, pack_tile, tile_scratch_bytes, attend_tile};
