/**
 * Owns W8A8 products as LLM.int8 defines them (arXiv 2208.07339): rows of activations scaled to 127 at their largest value
 * below 6, products of codes exact in 32 bits, columns from 6 on multiplied in 16 bits with the same weights. Each row
 * decides for itself which columns those are, so a row is the same in any batch.
 *
 * Few rows: bytes of weights are the limit, n * k for 2 * rows * n * k operations, by __dp4a. For many rows a library
 * multiplies codes, and `finish_int8` reads 4 bytes and writes 2 or 4 for each result.
 */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"
#include "ops/cuda/kernels/product_target.cuh"

namespace tessera::cuda {

namespace {

constexpr int kQuantiseThreads = 256;
constexpr int kWarps = 4;
constexpr int kChunk = 16;

__device__ __forceinline__ bool is_outlier(float x) { return !(fabsf(x) < kInt8Outlier); }  // NaN is one

/** One block a row. */
__global__ void quantise_rows_kernel(const bf16* x, size_t x_stride, int k, Int8Rows out) {
  GPU_SHARED(float[32], partial);
  GPU_SHARED(int[32], counts);
  const int row = blockIdx.x;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const bf16* values = x + row * x_stride;
  float largest = 0;
  for (int i = threadIdx.x; i < k; i += kQuantiseThreads) {
    const float value = __bfloat162float(values[i]);
    if (!is_outlier(value)) largest = fmaxf(largest, fabsf(value));
  }
  largest = warp_max(largest);
  if (lane == 0) partial[warp] = largest;
  __syncthreads();
  for (int w = 0; w < kQuantiseThreads / 32; w++) largest = fmaxf(largest, partial[w]);
  // Below this the factor would overflow; such a row is as good as zero.
  const float factor = largest > 1e-30f ? 1.0f / largest * 127.0f : 0.0f;
  if (threadIdx.x == 0) out.scales[row] = factor > 0 ? largest / 127.0f : 0.0f;

  int8_t* codes = out.codes + static_cast<size_t>(row) * k;
  int found = 0;  // by all threads, in the columns so far
  for (int first = 0; first < k; first += kQuantiseThreads) {
    const int i = first + threadIdx.x;
    const float value = i < k ? __bfloat162float(values[i]) : 0.0f;
    const bool is_own = is_outlier(value);
    if (i < k) codes[i] = static_cast<int8_t>(is_own ? 0.0f : rintf(value * factor));
    const unsigned votes = __ballot_sync(kAllLanes, is_own);
    if (lane == 0) counts[warp] = __popc(votes);
    __syncthreads();
    int before = found;
    for (int w = 0; w < kQuantiseThreads / 32; w++) {
      if (w < warp) before += counts[w];
      found += counts[w];
    }
    const int place = before + __popc(votes & ((1u << lane) - 1));
    if (is_own && place < kMaxOutliers) out.outliers[static_cast<size_t>(row) * kMaxOutliers + place] = i;
    __syncthreads();
  }
  if (threadIdx.x == 0) out.num_outliers[row] = found;
}

/** A lane's part, one of `lanes`, of what the row's outliers add to column `n`. */
__device__ __forceinline__ float outlier_part(const Int8Matrix& w, const bf16* x, const Int8Rows& coded, int row, int n,
                                              int lane, int lanes) {
  const int8_t* weights = w.codes + static_cast<size_t>(n) * w.k;
  const int count = coded.num_outliers[row];
  float sum = 0;
  if (count <= kMaxOutliers) {
    for (int i = lane; i < count; i += lanes) {
      const int col = coded.outliers[static_cast<size_t>(row) * kMaxOutliers + i];
      sum += __bfloat162float(x[col]) * static_cast<float>(weights[col]);
    }
    return sum;
  }
  for (int col = lane; col < w.k; col += lanes) {
    const float value = __bfloat162float(x[col]);
    if (is_outlier(value)) sum += value * static_cast<float>(weights[col]);
  }
  return sum;
}

/** Sixteen codes as one load. */
struct alignas(16) Codes16 {
  int words[4];
};

/** A warp a row of weights. */
template <int kBatch>
__global__ void __launch_bounds__(kWarps * 32)
    int8_product_kernel(Int8Matrix w, const bf16* x, size_t x_stride, Int8Rows coded, int batch, ProductTarget y) {
  const int lane = threadIdx.x % 32;
  const int n = blockIdx.x * kWarps + threadIdx.x / 32;
  if (n >= w.n) return;
  int sums[kBatch] = {};
  for (int chunk = lane; chunk < w.k / kChunk; chunk += 32) {
    const auto weights = *reinterpret_cast<const Codes16*>(w.codes + static_cast<size_t>(n) * w.k + chunk * kChunk);
#pragma unroll
    for (int b = 0; b < kBatch; b++) {
      if (b >= batch) continue;
      const auto codes = *reinterpret_cast<const Codes16*>(coded.codes + static_cast<size_t>(b) * w.k + chunk * kChunk);
#pragma unroll
      for (int i = 0; i < 4; i++) sums[b] = __dp4a(weights.words[i], codes.words[i], sums[b]);
    }
  }
#pragma unroll
  for (int b = 0; b < kBatch; b++) {
    if (b >= batch) continue;  // the same for all lanes
    int sum = sums[b];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
    const float outliers = warp_sum(outlier_part(w, x + b * x_stride, coded, b, n, lane, 32));
    if (lane == 0) store(y, b, n, static_cast<float>(sum) * (w.scales[n] * coded.scales[b]) + outliers * w.scales[n]);
  }
}

/** A thread a result; blocks [rows][columns]: of rows there may be more than the 65,535 that a grid has along y. */
__global__ void finish_int8_kernel(const int32_t* sums, Int8Matrix w, const bf16* x, size_t x_stride, Int8Rows coded,
                                   ProductTarget y) {
  const int row = blockIdx.x;
  const int n = blockIdx.y * blockDim.x + threadIdx.x;
  if (n >= w.n) return;
  const float outliers = outlier_part(w, x + row * x_stride, coded, row, n, 0, 1);
  const auto sum = static_cast<float>(sums[static_cast<size_t>(row) * w.n + n]);
  store(y, row, n, sum * (w.scales[n] * coded.scales[row]) + outliers * w.scales[n]);
}

bool is_usable(const Int8Matrix& w) { return w.n > 0 && w.k > 0 && w.k % kChunk == 0; }

}  // namespace

cudaError_t quantise_rows(const bf16* x, size_t x_stride, int rows, int k, const Int8Rows& out, cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  const gpu::LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(rows)), .block = dim3(kQuantiseThreads), .stream = stream};
  return gpu::launch("quantise_rows", shape, quantise_rows_kernel, x, x_stride, k, out);
}

cudaError_t multiply_int8(const Int8Matrix& w, const bf16* x, size_t x_stride, const Int8Rows& coded, int rows,
                          const ProductTarget& y, cudaStream_t stream) {
  if (!is_usable(w) || rows < 1 || rows > kMaxCodedRows) return cudaErrorInvalidValue;
  const gpu::LaunchShape shape = {
      .grid = dim3(blocks_for(static_cast<size_t>(w.n), kWarps)), .block = dim3(kWarps * 32), .stream = stream};
  const auto run = [&](auto kernel) {
    return gpu::launch("int8_product", shape, kernel, w, x, x_stride, coded, rows, y);
  };
  if (rows == 1) return run(int8_product_kernel<1>);
  if (rows <= 4) return run(int8_product_kernel<4>);
  return run(int8_product_kernel<8>);
}

cudaError_t finish_int8(const int32_t* sums, const Int8Matrix& w, const bf16* x, size_t x_stride, const Int8Rows& coded,
                        int rows, const ProductTarget& y, cudaStream_t stream) {
  if (!is_usable(w)) return cudaErrorInvalidValue;
  if (rows == 0) return cudaSuccess;
  const gpu::LaunchShape shape = {.grid = dim3(static_cast<unsigned>(rows), blocks_for(static_cast<size_t>(w.n), 128)),
                                  .block = dim3(128),
                                  .stream = stream};
  return gpu::launch("finish_int8", shape, finish_int8_kernel, sums, w, x, x_stride, coded, y);
}

}  // namespace tessera::cuda
