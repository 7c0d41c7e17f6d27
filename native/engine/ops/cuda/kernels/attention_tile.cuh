/**
 * Owns the inner part of attention: one warp, 16 rows of queries, a tile of keys and values in shared memory, with
 * mma.m16n8k16 and an online softmax (FlashAttention-2, arXiv 2307.08691). Scores are fp32; probabilities are rounded to
 * bf16 for their product with the values, whose sum is fp32.
 */
#pragma once

#include "ops/cuda/gpu.h"
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

/** A row in shared memory: 8 more than it holds, so that the rows of an ldmatrix lie in different banks. */
template <int kDim>
inline constexpr int kRowStride = kDim + 8;

/**
 * Copies `num_rows` rows to shared memory, by all `num_threads` callers together: `head_dim` values from where
 * `source(row)` says, zeros up to kDim; rows for which it says null are zeros. Alignment: 16 bytes.
 */
template <int kDim, class Source>
__device__ __forceinline__ void copy_rows(bf16* target, int num_rows, int head_dim, int thread, int num_threads,
                                          const bf16* anywhere, Source source) {
  constexpr int kChunks = kDim / 8;
  for (int i = thread; i < num_rows * kChunks; i += num_threads) {
    const int row = i / kChunks;
    const int col = i % kChunks * 8;
    const bf16* from = source(row);
    const bool is_there = from != nullptr && col < head_dim;
    gpu::copy_async_16(&target[row * kRowStride<kDim> + col], is_there ? from + col : anywhere, is_there);
  }
}

/** kDim: head_dim rounded up to 32, 64 or 128. */
template <int kDim>
struct WarpAttention {
  uint32_t query[kDim / 16][4];
  /** Rows lane / 4 and lane / 4 + 8; columns 8 n + lane % 4 * 2 and the next. */
  float sum[kDim / 8][4];
  float max[2];
  float mass[2];  // this lane's part

  /** `rows`: 16 rows in shared memory. */
  __device__ __forceinline__ void start(const bf16* rows) {
    const int lane = threadIdx.x % 32;
    for (int k = 0; k < kDim / 16; k++) {
      gpu::load_matrix_x4(query[k], &rows[lane % 16 * kRowStride<kDim> + k * 16 + lane / 16 * 8]);
    }
    for (auto& column : sum) {
      for (float& value : column) value = 0;
    }
    for (int half = 0; half < 2; half++) {
      max[half] = -INFINITY;
      mass[half] = 0;
    }
  }

  /** Takes in kKeys keys and values; `is_visible(row, key)` with row 0..15 and key 0..kKeys - 1. */
  template <int kKeys, class IsVisible>
  __device__ __forceinline__ void attend(const bf16* keys, const bf16* values, float scale_log2, IsVisible is_visible) {
    float scores[kKeys / 8][4];
    score<kKeys>(keys, scores);
    const int lane = threadIdx.x % 32;
    for (int n = 0; n < kKeys / 8; n++) {
      for (int i = 0; i < 4; i++) {
        const bool is_seen = is_visible(lane / 4 + i / 2 * 8, n * 8 + lane % 4 * 2 + i % 2);
        scores[n][i] = is_seen ? scores[n][i] * scale_log2 : -INFINITY;
      }
    }
    for (int half = 0; half < 2; half++) rescale<kKeys>(scores, half);
    add_values<kKeys>(values, scores);
  }

  /** The whole mass of a row, after the last tile. */
  __device__ __forceinline__ float total_mass(int half) const {
    float total = mass[half];
    total += __shfl_xor_sync(kAllLanes, total, 1);
    total += __shfl_xor_sync(kAllLanes, total, 2);
    return total;
  }

 private:
  template <int kKeys>
  __device__ __forceinline__ void score(const bf16* keys, float (&scores)[kKeys / 8][4]) const {
    const int lane = threadIdx.x % 32;
    for (int n = 0; n < kKeys / 8; n++) {
      for (float& value : scores[n]) value = 0;
      for (int k = 0; k < kDim / 32; k++) {
        uint32_t key[4];
        gpu::load_matrix_x4(key, &keys[(n * 8 + lane % 8) * kRowStride<kDim> + k * 32 + lane / 8 * 8]);
        gpu::mma_bf16(scores[n], query[k * 2], key);
        gpu::mma_bf16(scores[n], query[k * 2 + 1], key + 2);
      }
    }
  }

  /** Scores of one half of the rows become weights relative to the new largest score. */
  template <int kKeys>
  __device__ __forceinline__ void rescale(float (&scores)[kKeys / 8][4], int half) {
    float largest = max[half];
    for (int n = 0; n < kKeys / 8; n++) {
      largest = fmaxf(largest, fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
    }
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
    // A row that has seen nothing yet: no difference of infinities.
    const float base = largest == -INFINITY ? 0.0f : largest;
    const float correction = gpu::exp2_fast(max[half] - base);
    float added = 0;
    for (int n = 0; n < kKeys / 8; n++) {
      for (int i = half * 2; i < half * 2 + 2; i++) {
        scores[n][i] = gpu::exp2_fast(scores[n][i] - base);
        added += scores[n][i];
      }
    }
    mass[half] = mass[half] * correction + added;
    max[half] = largest;
    for (int n = 0; n < kDim / 8; n++) {
      sum[n][half * 2] *= correction;
      sum[n][half * 2 + 1] *= correction;
    }
  }

  template <int kKeys>
  __device__ __forceinline__ void add_values(const bf16* values, const float (&weights)[kKeys / 8][4]) {
    const int lane = threadIdx.x % 32;
    for (int k = 0; k < kKeys / 16; k++) {
      const float(&low)[4] = weights[k * 2];
      const float(&high)[4] = weights[k * 2 + 1];
      const uint32_t weight[4] = {gpu::pack_bf16(low[0], low[1]), gpu::pack_bf16(low[2], low[3]),
                                  gpu::pack_bf16(high[0], high[1]), gpu::pack_bf16(high[2], high[3])};
      for (int d = 0; d < kDim / 16; d++) {
        uint32_t value[4];
        gpu::load_matrix_x4_transposed(
            value, &values[(k * 16 + lane / 8 % 2 * 8 + lane % 8) * kRowStride<kDim> + d * 16 + lane / 16 * 8]);
        gpu::mma_bf16(sum[d * 2], weight, value);
        gpu::mma_bf16(sum[d * 2 + 1], weight, value + 2);
      }
    }
  }
};

/** 1 / sqrt(head_dim) for powers of two. */
inline float softmax_scale_log2(int head_dim) { return 1.44269504f / sqrtf(static_cast<float>(head_dim)); }

/** Calls `run` with head_dim rounded up to what kernels are made for. */
template <class Run>
cudaError_t for_head_dim(int head_dim, Run run) {
  if (head_dim % 8 != 0 || head_dim > 128) return cudaErrorInvalidValue;
  if (head_dim <= 32) return run(std::integral_constant<int, 32>());
  if (head_dim <= 64) return run(std::integral_constant<int, 64>());
  return run(std::integral_constant<int, 128>());
}

}  // namespace tessera::cuda
