/**
 * Owns the kernels for AVX-512 with BF16 and VNNI, which every processor with BF16 has: `vdpbf16ps` multiplies two
 * pairs a lane, twice the rate of fp32, and `vpdpbusd` four bytes. 14 rows x 2 vectors of sums fill 28 of 32 registers.
 */
#include <immintrin.h>

#include "ops/cpu/kernels.h"

#define TESSERA_VEC_BYTES 64
#define TESSERA_TILE_ROWS 14

namespace tessera::cpu {
namespace {

#include "ops/cpu/vec.h"

inline Vec load_half(const uint16_t* p) {
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

#include "ops/cpu/rows.h"
#include "ops/cpu/tiles.h"

using Int8Columns = __m512i;
inline Int8Columns split_columns(VecInt weights) { return (__m512i)weights; }
inline void add_products(VecInt sum[2], const Int8Columns w[2], uint32_t four) {
  __m512i x = _mm512_set1_epi32(static_cast<int32_t>(four));
  asm("" : "+v"(x));  // one broadcast for both products, not one each
  // The intrinsic makes GCC 12 keep the sums in memory.
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) asm("vpdpbusd %2, %1, %0" : "+v"(sum[v]) : "v"(x), "v"(w[v]));
}

inline VecInt round_to_int(Vec x) { return (VecInt)_mm512_cvtps_epi32((__m512)x); }
inline void store_bytes(VecInt whole, uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)whole));
}
inline void store_words(VecInt whole, int16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16((__m512i)whole));
}

#include "ops/cpu/quant_tiles.h"

// A denormal is one here too: vcvtneps2bf16 takes them for zero, which no product can tell from what they are.
inline __m512i bf16_words(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

#include "ops/cpu/int4_avx512.h"
#include "ops/cpu/int4_avx512bf16.h"

inline void add_pairs(VecInt sum[2], const VecInt w[2], uint32_t pair) {
  __m512i x = _mm512_set1_epi32(static_cast<int32_t>(pair));
  asm("" : "+v"(x));
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) asm("vpdpwssd %2, %1, %0" : "+v"(sum[v]) : "v"(x), "v"(w[v]));
}
inline void add_pair(__m512i& sum, __m512i w, const uint32_t* pair) {
  asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*pair));
}

#include "ops/cpu/codebook_tiles.h"
#include "ops/cpu/codebook_avx512.h"

template <int ROWS, bool ASKS>
__attribute__((noinline)) void tile_pairs(const uint16_t* a, const uint16_t* b, size_t steps, float* c, size_t stride,
                                          bool accumulate, Ahead ahead) {
  __m512 sum[ROWS][2];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) sum[r][v] = accumulate ? _mm512_loadu_ps(c + r * stride + v * 16) : _mm512_setzero_ps();
  }
  for (size_t k = 0; k < steps; k++) {
    __m512i w[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
      w[v] = _mm512_load_si512(b + v * 32);
      if (ASKS) __builtin_prefetch(ahead.from + v * 64, 0, ROWS <= kStreamRows ? 2 : 3);
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      int32_t pair;
      __builtin_memcpy(&pair, a + 2 * r, 4);
      __m512i x = _mm512_set1_epi32(pair);
      asm("" : "+v"(x));  // one broadcast for both products, not one each
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)w[v], (__m512bh)x);
    }
    a += 2 * ROWS;
    b += 2 * kPanelWidth;
    ahead.from += ahead.step;
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) _mm512_storeu_ps(c + r * stride + v * 16, sum[r][v]);
  }
}

template <int ROWS = kTileRows>
inline void dispatch_pairs(int rows, const uint16_t* a, const uint16_t* b, size_t steps, float* c, size_t stride,
                           bool accumulate, Ahead ahead) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      if (ROWS <= kStreamRows && ahead.from == nullptr) {
        tile_pairs<ROWS, (ROWS > kStreamRows)>(a, b, steps, c, stride, accumulate, ahead);
      } else {
        tile_pairs<ROWS, true>(a, b, steps, c, stride, accumulate, ahead);
      }
    } else {
      dispatch_pairs<ROWS - 1>(rows, a, b, steps, c, stride, accumulate, ahead);
    }
  }
}

void tile_bf16(int rows, const void* a, const void* panel, size_t steps, float* c, size_t stride, bool accumulate,
               Ahead ahead) {
  dispatch_pairs(rows, static_cast<const uint16_t*>(a), static_cast<const uint16_t*>(panel), steps, c, stride,
                 accumulate, ahead);
}

/** Transposes 16 x 16 lanes of 32 bits. */
inline void transpose(__m512i v[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
  }
}

/** 16 pairs from column `i` on. */
inline __m512i load_pairs(const float* row, size_t i) {
  return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(row + i + 16), _mm512_loadu_ps(row + i));
}

/** At most 16 rows. */
void pack_bf16(const float* x, size_t stride, int rows, size_t k, void* packed) {
  uint32_t* out = static_cast<uint32_t*>(packed);
  const __mmask16 columns = static_cast<__mmask16>((1u << rows) - 1);
  size_t i = 0;
  for (; i + 32 <= k; i += 32) {
    if (rows == 1) {
      _mm512_storeu_si512(out + i / 2, load_pairs(x, i));
      continue;
    }
    __m512i v[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) v[r] = r < rows ? load_pairs(x + r * stride, i) : _mm512_setzero_si512();
    transpose(v);
    // What a store leaves behind its columns, the next one overwrites; the last of all must not reach over the end.
    uint32_t* to = out + i / 2 * rows;
#pragma GCC unroll 15
    for (int p = 0; p < 15; p++, to += rows) {
      if (i + 64 <= k || p * rows + 16 <= 16 * rows) {
        _mm512_storeu_si512(to, v[p]);
      } else {
        _mm512_mask_storeu_epi32(to, columns, v[p]);
      }
    }
    _mm512_mask_storeu_epi32(to, columns, v[15]);
  }
  for (; i < k; i += 2) {
    for (int r = 0; r < rows; r++) {
      const float* row = x + r * stride;
      const uint32_t odd = i + 1 < k ? to_bf16(row[i + 1]) : 0;
      out[i / 2 * rows + r] = odd << 16 | to_bf16(row[i]);
    }
  }
}

/** Columns first .. first + 31 of each row as pairs in their place among packed activations. */
template <class Columns>
inline void store_pairs(int rows, uint32_t* out, Columns&& columns) {
  // Through memory, as the registers are full of what `columns` needs.
  alignas(64) uint32_t pairs[16][16] = {};
  for (int r = 0; r < rows; r++) {
    _mm512_store_si512(pairs[r], (__m512i)_mm512_cvtne2ps_pbh((__m512)columns(r, 1), (__m512)columns(r, 0)));
  }
  __m512i v[16];
  v[0] = _mm512_load_si512(pairs[0]);
  if (rows == 1) {
    _mm512_storeu_si512(out, v[0]);
    return;
  }
#pragma GCC unroll 16
  for (int r = 1; r < 16; r++) v[r] = _mm512_load_si512(pairs[r]);
  transpose(v);
  // As in `pack_bf16`; behind these columns another thread may write.
  const __mmask16 lanes = static_cast<__mmask16>((1u << rows) - 1);
#pragma GCC unroll 16
  for (int p = 0; p < 16; p++, out += rows) {
    if (p < 15 && (16 - p) * rows >= 16) {
      _mm512_storeu_si512(out, v[p]);
    } else {
      _mm512_mask_storeu_epi32(out, lanes, v[p]);
    }
  }
}

void finish_packed(const float* tile, int rows, const TileEnd& end, void* packed) {
  store_pairs(rows, static_cast<uint32_t*>(packed), [&](int r, int half) {
    const int i = half * kWidth;
    Vec v = load(tile + r * kPanelWidth + i);
    if (end.bias != nullptr) v += load(end.bias + i);
    return end.gelu ? gelu(v) : v;
  });
}

void finish_swiglu_packed(const float* gate, const float* up, int rows, void* packed) {
  store_pairs(rows, static_cast<uint32_t*>(packed), [&](int r, int half) {
    const int i = r * kPanelWidth + half * kWidth;
    return silu(load(gate + i)) * load(up + i);
  });
}

#include "ops/cpu/tile_attention_avx512bf16.h"

constexpr MatrixKernel kPairsKernel = {2, 2, 2, pack_bf16, tile_bf16, store_key_bf16, store_value_bf16};

constexpr Kernels kKernels = {
    "avx512_bf16", kTileRows, kPairsKernel, kF16Kernel, kF32Kernel, kInt8Kernel, kInt4Kernel, kCodebookKernel, finish,
    finish_swiglu, finish_packed, finish_swiglu_packed, layer_norm, rms_norm, softmax, exp_sum, largest, scale,
    &kTileAttention,
};

}  // namespace

const Kernels* avx512_bf16_kernels() { return &kKernels; }

}  // namespace tessera::cpu
