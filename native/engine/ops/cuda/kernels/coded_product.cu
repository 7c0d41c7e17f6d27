/**
 * Owns products with weights in 4 or 8 bits and activations in bf16: NF4 and FP4, AWQ and FP8 E4M3, which stand for bf16
 * numbers, and int8, whose sums are multiplied with the row's scale. A few rows are multiplied straight from codes; for
 * many, weights are expanded to bf16.
 *
 * Bytes of codes are the limit: n * k / 2 and 4 for each 64 weights (FP8: n * k), for 2 * rows * n * k flops. A warp takes
 * several rows of weights, so that activations, which come from L1, are loaded once for all of them. Values of 4-bit
 * codes are looked up in 16 words of shared memory, in as many banks: no two lanes are in each other's way.
 */
#include <cuda_fp8.h>

#include <cstring>
#include <type_traits>

#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"
#include "ops/cuda/kernels/product_target.cuh"

namespace tessera::cuda {

namespace {

constexpr int kWarps = 4;
/** Weights that are decoded at once. */
constexpr int kRun = 8;

__device__ __forceinline__ float round_to_bf16(float x) { return __bfloat162float(__float2bfloat16(x)); }

__device__ __forceinline__ uint32_t word_of(const uint4& four, int i) {
  return i == 0 ? four.x : i == 1 ? four.y : i == 2 ? four.z : four.w;
}

/** 32 codes of 4 bits, values from a table. */
struct Table4 {
  static constexpr int kChunk = 32;
  static constexpr int kTable = 16;
  static constexpr bool kScalesSums = false;
  struct Packed {
    uint4 codes;
    float scale;
  };
  __device__ static Packed load(const CodedMatrix& w, int row, int chunk) {
    const size_t first = static_cast<size_t>(row) * w.k + chunk * kChunk;
    return {*reinterpret_cast<const uint4*>(w.codes + first / 2),
            w.scales[static_cast<size_t>(row) * (w.k / w.group_cols) + chunk * kChunk / w.group_cols]};
  }
  __device__ static void decode(const Packed& packed, int run, const float* table, float (&out)[kRun]) {
    const uint32_t eight = word_of(packed.codes, run);
#pragma unroll
    for (int i = 0; i < kRun; i++) out[i] = round_to_bf16(table[eight >> (4 * i) & 15] * packed.scale);
  }
};

/** 32 codes of 4 bits with a zero. */
struct Awq4 {
  static constexpr int kChunk = 32;
  static constexpr int kTable = 0;
  static constexpr bool kScalesSums = false;
  struct Packed {
    uint4 codes;
    float scale;
    int zero;
  };
  __device__ static Packed load(const CodedMatrix& w, int row, int chunk) {
    const size_t first = static_cast<size_t>(row) * w.k + chunk * kChunk;
    const size_t group = static_cast<size_t>(row) * (w.k / w.group_cols) + chunk * kChunk / w.group_cols;
    return {*reinterpret_cast<const uint4*>(w.codes + first / 2), w.scales[group], w.zeros[group]};
  }
  __device__ static void decode(const Packed& packed, int run, const float*, float (&out)[kRun]) {
    const uint32_t eight = word_of(packed.codes, run);
#pragma unroll
    for (int i = 0; i < kRun; i++) {
      const int code = static_cast<int>(eight >> (4 * i) & 15) - packed.zero;
      out[i] = round_to_bf16(__half2float(__float2half_rn(static_cast<float>(code) * packed.scale)));
    }
  }
};

/** 16 numbers of E4M3; sm_89 and later convert them by an instruction of their own. */
struct Fp8 {
  static constexpr int kChunk = 16;
  static constexpr int kTable = 0;
  static constexpr bool kScalesSums = false;
  struct Packed {
    uint4 codes;
    float scale;
  };
  __device__ static Packed load(const CodedMatrix& w, int row, int chunk) {
    return {*reinterpret_cast<const uint4*>(w.codes + static_cast<size_t>(row) * w.k + chunk * kChunk), w.scales[row]};
  }
  __device__ static void decode(const Packed& packed, int run, const float*, float (&out)[kRun]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const uint32_t four = word_of(packed.codes, run * 2 + half);
#pragma unroll
      for (int pair = 0; pair < 2; pair++) {
        const auto bits = static_cast<__nv_fp8x2_storage_t>(four >> (16 * pair) & 0xFFFF);
        const __half2_raw halves = __nv_cvt_fp8x2_to_halfraw2(bits, __NV_E4M3);
        const float2 values = __half22float2(__half2(halves));
        out[half * 4 + pair * 2] = round_to_bf16(values.x * packed.scale);
        out[half * 4 + pair * 2 + 1] = round_to_bf16(values.y * packed.scale);
      }
    }
  }
};

/** 16 whole numbers, which bf16 holds exactly. */
struct Int8 {
  static constexpr int kChunk = 16;
  static constexpr int kTable = 0;
  static constexpr bool kScalesSums = true;
  struct Packed {
    uint4 codes;
  };
  __device__ static Packed load(const CodedMatrix& w, int row, int chunk) {
    return {*reinterpret_cast<const uint4*>(w.codes + static_cast<size_t>(row) * w.k + chunk * kChunk)};
  }
  __device__ static void decode(const Packed& packed, int run, const float*, float (&out)[kRun]) {
#pragma unroll
    for (int i = 0; i < kRun; i++) {
      const uint32_t four = word_of(packed.codes, run * 2 + i / 4);
      out[i] = static_cast<float>(static_cast<int8_t>(four >> (8 * (i % 4))));
    }
  }
};

template <class Weights>
__device__ __forceinline__ void fill_table(const CodedMatrix& w, float* table) {
  if constexpr (Weights::kTable > 0) {
    if (threadIdx.x < Weights::kTable) table[threadIdx.x] = w.values[threadIdx.x];
    __syncthreads();
  }
}

/** Eight bf16 of each row of activations from column `col` on, as floats; zeros for rows that are not there. */
template <int kBatch>
__device__ __forceinline__ void load_activations(const bf16* x, size_t stride, int batch, int col,
                                                 float (&values)[kBatch][kRun]) {
#pragma unroll
  for (int b = 0; b < kBatch; b++) {
    Bf16x8 eight = {};
    if (b < batch) eight = *reinterpret_cast<const Bf16x8*>(x + b * stride + col);
#pragma unroll
    for (int i = 0; i < kRun / 2; i++) {
      const float2 pair = __bfloat1622float2(eight.pairs[i]);
      values[b][i * 2] = pair.x;
      values[b][i * 2 + 1] = pair.y;
    }
  }
}

/** Blocks that are to fit on a multiprocessor; the widest of AWQ, whose zeros take registers too, would spill with three. */
template <class Weights, int kRows, int kBatch>
constexpr int kBlocks = std::is_same_v<Weights, Awq4> && kRows * kBatch >= 32 ? 2 : 3;

/** A warp takes kRows rows of weights and all rows of activations, a lane a chunk at a time. */
template <class Weights, int kRows, int kBatch>
__global__ void __launch_bounds__(kWarps * 32, (kBlocks<Weights, kRows, kBatch>))
    coded_product_kernel(CodedMatrix w, const bf16* x, size_t x_stride, int batch, ProductTarget y) {
  GPU_SHARED(float[16], table);
  fill_table<Weights>(w, table);
  const int lane = threadIdx.x % 32;
  const int first_row = (blockIdx.x * kWarps + threadIdx.x / 32) * kRows;
  float sums[kRows][kBatch] = {};
  for (int chunk = lane; chunk < w.k / Weights::kChunk; chunk += 32) {
    typename Weights::Packed packed[kRows];
#pragma unroll
    for (int r = 0; r < kRows; r++) packed[r] = Weights::load(w, min(first_row + r, w.n - 1), chunk);
#pragma unroll
    for (int run = 0; run < Weights::kChunk / kRun; run++) {
      float activations[kBatch][kRun];
      load_activations<kBatch>(x, x_stride, batch, chunk * Weights::kChunk + run * kRun, activations);
#pragma unroll
      for (int r = 0; r < kRows; r++) {
        float weights[kRun];
        Weights::decode(packed[r], run, table, weights);
#pragma unroll
        for (int b = 0; b < kBatch; b++) {
#pragma unroll
          for (int i = 0; i < kRun; i++) sums[r][b] += activations[b][i] * weights[i];
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; r++) {
#pragma unroll
    for (int b = 0; b < kBatch; b++) {
      float sum = warp_sum(sums[r][b]);
      if constexpr (Weights::kScalesSums) sum *= w.scales[min(first_row + r, w.n - 1)];
      if (lane == 0 && b < batch && first_row + r < w.n) store(y, b, first_row + r, sum);
    }
  }
}

/** A thread a chunk. */
template <class Weights>
__global__ void expand_kernel(CodedMatrix w, bf16* out) {
  GPU_SHARED(float[16], table);
  fill_table<Weights>(w, table);
  const int chunks = w.k / Weights::kChunk;
  const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= static_cast<size_t>(w.n) * chunks) return;
  const typename Weights::Packed packed = Weights::load(w, static_cast<int>(i / chunks), static_cast<int>(i % chunks));
#pragma unroll
  for (int run = 0; run < Weights::kChunk / kRun; run++) {
    float weights[kRun];
    Weights::decode(packed, run, table, weights);
    Bf16x8 eight;
#pragma unroll
    for (int k = 0; k < kRun / 2; k++) eight.pairs[k] = __floats2bfloat162_rn(weights[k * 2], weights[k * 2 + 1]);
    *reinterpret_cast<Bf16x8*>(out + i * Weights::kChunk + run * kRun) = eight;
  }
}

/** Blocks [rows][columns]: of rows there may be more than the 65,535 that a grid has along y. */
__global__ void scale_sums_kernel(float* y, size_t stride, int n, const float* scales) {
  const int col = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
  if (col < n) y[blockIdx.x * stride + col] *= scales[col];
}

/** Below so many rows of weights a warp takes one each, or there would be too few warps for a GPU. */
constexpr int kManyRows = 2048;

template <class Weights, int kRows, int kBatch>
cudaError_t run_product(const CodedMatrix& w, const bf16* x, size_t x_stride, int batch, const ProductTarget& y,
                        cudaStream_t stream) {
  const gpu::LaunchShape shape = {.grid = dim3(blocks_for(static_cast<size_t>(w.n), kWarps * kRows)),
                                  .block = dim3(kWarps * 32),
                                  .stream = stream};
  return gpu::launch("coded_product", shape, coded_product_kernel<Weights, kRows, kBatch>, w, x, x_stride, batch, y);
}

template <class Weights>
cudaError_t product_of(const CodedMatrix& w, const bf16* x, size_t x_stride, int batch, const ProductTarget& y,
                       cudaStream_t stream) {
  const auto with = [&](auto most) {
    if (w.n >= kManyRows) return run_product<Weights, 4, most.value>(w, x, x_stride, batch, y, stream);
    return run_product<Weights, 1, most.value>(w, x, x_stride, batch, y, stream);
  };
  if (batch == 1) return with(std::integral_constant<int, 1>());
  if (batch <= 4) return with(std::integral_constant<int, 4>());
  return with(std::integral_constant<int, 8>());
}

bool is_usable(const CodedMatrix& w) { return w.n > 0 && w.k > 0 && w.k % 64 == 0 && w.group_cols > 0 && w.group_cols % 64 == 0; }

/** Calls `run` with the kind's type. */
template <class Run>
cudaError_t for_kind(const CodedMatrix& w, Run run) {
  if (w.kind == CodedMatrix::Kind::kTable4) return run(Table4());
  if (w.kind == CodedMatrix::Kind::kAwq4) return run(Awq4());
  if (w.kind == CodedMatrix::Kind::kInt8) return run(Int8());
  return run(Fp8());
}

}  // namespace

cudaError_t multiply_coded(const CodedMatrix& w, const bf16* x, size_t x_stride, int rows, const ProductTarget& y,
                           cudaStream_t stream) {
  if (!is_usable(w) || rows < 1 || rows > kMaxCodedRows) return cudaErrorInvalidValue;
  return for_kind(w, [&](auto kind) { return product_of<decltype(kind)>(w, x, x_stride, rows, y, stream); });
}

cudaError_t expand_coded(const CodedMatrix& w, bf16* out, cudaStream_t stream) {
  if (!is_usable(w)) return cudaErrorInvalidValue;
  return for_kind(w, [&](auto kind) {
    using Weights = decltype(kind);
    const size_t chunks = static_cast<size_t>(w.n) * (w.k / Weights::kChunk);
    return gpu::launch("expand", {.grid = dim3(blocks_for(chunks, 256)), .block = dim3(256), .stream = stream},
                       expand_kernel<Weights>, w, out);
  });
}

cudaError_t scale_sums(float* y, size_t stride, int rows, int n, const float* scales, cudaStream_t stream) {
  const gpu::LaunchShape shape = {.grid = dim3(static_cast<unsigned>(rows), blocks_for(static_cast<size_t>(n), 256)),
                                  .block = dim3(256),
                                  .stream = stream};
  return gpu::launch("scale_sums", shape, scale_sums_kernel, y, stride, n, scales);
}

}  // namespace tessera::cuda
