/** Owns the table of inner loops that each instruction set fills in, and the packed layouts they share. */
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::cpu {

/** Columns of a weight panel. A KV block holds as many tokens, so that a block is a panel too. */
inline constexpr int kPanelWidth = 32;
/** With up to so many rows a tile is limited by memory and looks ahead. */
inline constexpr int kFewRows = 8;
/**
 * With up to so many it waits for nothing but its one stream of weights, which the processor fetches faster by itself, or,
 * where pages are small, if it is asked into L2.
 */
inline constexpr int kStreamRows = 2;
/** Rows of activations the widest kernel takes at once. */
inline constexpr int kMaxRows = 14;

/** What a tile of results becomes on its way to memory; see `Epilogue`. Pointers are at the tile's first column. */
struct TileEnd {
  const float* bias;
  bool gelu;
  const float* scale;
  const float* residual;
  size_t residual_stride;
  float* out;
  size_t out_stride;
  int cols;  // of the panel's 32, those that exist
};

/**
 * Memory a product asks for while it computes: 128 bytes at `from`, then the same `step` bytes further for each group of
 * k_step. 128 keeps ahead of a stream of weights; less spreads what comes later over several products. From null:
 * nothing, of up to `kStreamRows` rows.
 */
struct Ahead {
  const char* from;
  size_t step;

  Ahead(const void* from, size_t step = 128) : from(static_cast<const char*>(from)), step(step) {}
};

/**
 * Products of packed activations and packed weights of one storage type. K is padded with zeros to a multiple of
 * `k_step`.
 *   weights      [N / 32][K / k_step][32][k_step]   (keys and values of attention too)
 *   activations  [M / rows][K / k_step][rows][k_step], each of `a_bytes`
 */
struct MatrixKernel {
  size_t k_step;
  size_t a_bytes;
  size_t b_bytes;
  /** Packs rows [rows][k] of stride `stride`. */
  void (*pack)(const float* x, size_t stride, int rows, size_t k, void* packed);
  /**
   * c [rows][32] = (accumulate ? c : 0) + a * panel over `steps` groups of k_step, each sum in the order of K. Whatever
   * lies at `ahead`, it is only asked for.
   */
  void (*tile)(int rows, const void* a, const void* panel, size_t steps, float* c, size_t stride, bool accumulate,
               Ahead ahead);
  /** Writes a key of `dim` values as column `slot` of a panel. */
  void (*store_key)(const float* x, size_t dim, void* panel, size_t slot);
  /**
   * Writes a value of `dim` values as row `token` of panels that are `panel_size` elements apart. Tokens of a pair come
   * in order: the first clears the place of the second, so that nothing older is ever multiplied.
   */
  void (*store_value)(const float* x, size_t dim, void* panels, size_t panel_size, size_t token);
};

/** Columns of 4-bit weights whose codes lie together. */
inline constexpr size_t kCodeBlock = 64;
inline constexpr size_t kCodeBlockBytes = kCodeBlock * kPanelWidth / 2;

/** Where a code is among 32 rows x 64 columns. */
struct Place4 {
  size_t row, col;
};

/**
 * The block's order: [2 halves of its rows][8 lines of 8 columns][32 words of 16 bits][4 codes]. A code of a word is of
 * every fourth row; the columns' pairs go by eighths of a line, for odd codes with the line's halves swapped. So the
 * lanes of a vector that was looked up are nearly where the products want them; see int4_avx512.h.
 */
static inline Place4 place4(int half, size_t line, int word, int nibble) {
  const int pair = word / 8 ^ (nibble % 2 == 1 ? 2 : 0);
  return {static_cast<size_t>(16 * half + 4 * nibble + word % 8 / 2), 8 * line + 2 * pair + word % 2};
}

/** AWQ's 4-bit weights. A group of 32 rows x `group_cols` columns begins with its rows' scales and -zero * scale. */
struct Format4 {
  size_t group_cols;  // that share a scale: a multiple of 64

  static constexpr size_t header_bytes() { return kPanelWidth * 8; }
  size_t group_bytes() const { return header_bytes() + group_cols / kCodeBlock * kCodeBlockBytes; }
};

/** Products of AWQ's weights, as those of the bf16 weights that they stand for, bit for bit. */
struct Int4Kernel {
  /** `count` groups to bf16 panels. */
  void (*expand)(const void* groups, const Format4& format, size_t count, void* out);
  /** Rows that `tile` takes; 0 where the set has none. */
  int max_rows;
  /** c [rows][32] = a * panel, which is `count` groups; a as in `MatrixKernel`. */
  void (*tile)(int rows, const void* a, const void* groups, const Format4& format, size_t count, float* c);
};

/** What the 16 codes of NF4 or FP4 stand for, as whole numbers. */
struct Codebook {
  int16_t values[32];  // the 16, twice: as many as a vector has words
  float unit;          // the number that 1 is stored as, at most 4096
};

/** Largest magnitude of an activation beside a codebook: 64 products with one of at most 4096 fit in 32 bits. */
inline constexpr int kCodebookActivation = 8191;
/** A block of 32 rows x 64 columns of codes, its rows' fp32 scales first. */
inline constexpr size_t kCodebookBlockBytes = kPanelWidth * 4 + kCodeBlockBytes;
/** The same as [32 scales][32 pairs of columns][32 rows][2] whole numbers of 16 bits. */
inline constexpr size_t kExpandedBlockBytes = kPanelWidth * 4 + kCodeBlock * kPanelWidth * 2;
/** One row's activations of a block: a scale, then the columns as whole numbers of 16 bits. */
inline constexpr size_t kActivationBlockBytes = 4 + kCodeBlock * 2;

/** A block's order: [8 lines of 8 columns][2 halves of its rows][16 rows][2 columns][4 codes, every second column's]. */
static inline Place4 codebook_place(size_t line, int half, int word, int nibble) {
  return {static_cast<size_t>(16 * half + word / 2), 8 * line + 2 * nibble + word % 2};
}

/**
 * Products of codes whose values and activations are whole numbers of 16 bits, with a scale for 64 columns on either
 * side: exact within a block, whose sums are added up in the order of K.
 */
struct CodebookKernel {
  /** Packs rows [rows][k] as [k / 64]{[rows] scales, [32 pairs][rows][2]}; k is a multiple of 64. */
  void (*pack)(const float* x, size_t stride, int rows, size_t k, float unit, void* packed);
  /** `count` blocks of codes, with their values looked up. */
  void (*expand)(const void* blocks, const Codebook& codebook, size_t count, void* out);
  /** c [rows][32] = (accumulate ? c : 0) + a * panel over `count` expanded blocks. */
  void (*tile)(int rows, const void* a, const void* expanded, size_t count, float* c, bool accumulate);
  /** Rows that `tile_codes` takes; 0 where the set has none. */
  int max_rows;
  /** c = a * panel over `count` blocks of codes: the bits of `tile`. */
  void (*tile_codes)(int rows, const void* a, const void* blocks, const Codebook& codebook, size_t count, float* c);
};

/**
 * Products of int8 weights [K / 4][32][4] and activations [K / 4][rows][4], these stored 128 too large; or wide ones
 * [K / 4][rows][high, low][4], of 16 bits in two bytes, stored 32,768 too large.
 */
struct Int8Kernel {
  /** Writes row `row` of a tile of `rows` and returns its scale: of weights, all of them numbers. */
  float (*quantise)(const float* x, size_t k, int row, int rows, void* packed);
  /**
   * Writes a tile of rows [rows][k] of stride `stride`, magnitudes from `limit` on as zero, with the scale of each; says
   * of each whether it has such.
   */
  void (*quantise_tile)(const float* x, size_t stride, int rows, size_t k, float limit, void* packed, float* scales,
                        bool* has_outliers);
  /** c [rows][32] = (a * panel - corrections) * scales. Few rows meanwhile ask for as many bytes from `next` on; as in `Ahead`. */
  void (*tile)(int rows, const void* a, const void* panel, size_t steps, const float* row_scales, const float* scales,
               const int32_t* corrections, float* c, const void* next);
  /** c [32] += value * column `col` of the panel. */
  void (*add_column)(const void* panel, size_t col, float value, const float* scales, float* c);
  /** `quantise` to wide activations; the scale of a row that has what is no number is none either. */
  float (*quantise_wide)(const float* x, size_t k, int row, int rows, void* packed);
  /** `tile` of wide activations. */
  void (*tile_wide)(int rows, const void* a, const void* panel, size_t steps, const float* row_scales,
                    const float* scales, const int32_t* corrections, float* c, const void* next);
};

/** Attention of the tokens of a tile over themselves. */
struct TileShape {
  size_t tokens;
  size_t head_dim;
  bool int8_scores;  // products of queries and keys are of whole numbers, a scale a row of either
};

/** Attention of one head of a tile, all of it: for a set on which that is faster than by products and softmax. */
struct TileAttentionKernel {
  size_t (*packed_bytes)(const TileShape& shape);
  /** Packs all keys and values of a head, rows of stride `stride`. */
  void (*pack)(const TileShape& shape, const float* keys, const float* values, size_t stride, void* packed);
  size_t (*scratch_bytes)(const TileShape& shape);
  /** y [rows][head_dim] of queries [rows][head_dim], at most as many as a tile has. */
  void (*attend)(const TileShape& shape, const void* packed, const float* queries, size_t stride, int rows,
                 void* scratch, float* y, size_t y_stride);
};

/** The inner loops of one instruction set. Each handles any length; none allocates. */
struct Kernels {
  const char* name;
  int max_rows;  // <= kMaxRows
  MatrixKernel bf16;
  MatrixKernel f16;
  MatrixKernel f32;
  Int8Kernel int8;
  Int4Kernel int4;
  CodebookKernel codebook;
  /** Ends a tile [rows][32]. */
  void (*finish)(const float* tile, int rows, const TileEnd& end);
  void (*finish_swiglu)(const float* gate, const float* up, int rows, int cols, float* out, size_t out_stride);
  /**
   * The same with results as `bf16.pack` lays them out, 32 columns of a tile, all of them there, from `packed` on; of a
   * `TileEnd` with bias and GELU alone. Null where that is not worth it.
   */
  void (*finish_packed)(const float* tile, int rows, const TileEnd& end, void* packed);
  void (*finish_swiglu_packed)(const float* gate, const float* up, int rows, void* packed);
  void (*layer_norm)(const float* x, size_t n, const float* weight, const float* bias, float eps, float* y);
  void (*rms_norm)(const float* x, size_t n, const float* weight, float eps, float* y);
  /** row[i] = exp(scale * (row[i] - max)) and exactly 0 for -inf; returns the sum. n is a multiple of 32. */
  float (*softmax)(float* row, size_t n, float scale);
  /** Sum of exp(scale * (x[i] - max)). */
  double (*exp_sum)(const float* x, size_t n, float max, float scale);
  /** The largest of n numbers, minus infinity for none; NaN where one is. */
  float (*largest)(const float* x, size_t n);
  /** y = x * factor, for the attention's division by its sum. */
  void (*scale)(const float* x, size_t n, float factor, float* y);
  /** Of bf16 activations; null where products and softmax are as fast. */
  const TileAttentionKernel* tile_attention = nullptr;
};

const Kernels* portable_kernels();
// Null where the compiler could not build the set.
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* avx512_bf16_kernels();
const Kernels* neon_dot_kernels();

/** The best set this machine runs, or the one TESSERA_ISA names (`portable`, `avx2`, `avx512`, `avx512_bf16`, `neon_dot`). */
const Kernels& choose_kernels();
/** A set by name; null where machine or build lack it. */
const Kernels* find_kernels(const char* name);

// Internal linkage: a copy compiled for one instruction set must never serve another.

/** Round to nearest even; a NaN stays a NaN. */
static inline uint16_t to_bf16(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float from_bf16(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float out;
  __builtin_memcpy(&out, &bits, 4);
  return out;
}

}  // namespace tessera::cpu
