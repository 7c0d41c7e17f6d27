/** Owns tests of what a kernel can say: indices, barriers, shared memory, warp collectives, atomics, matrix instructions. */
#include <cmath>

#include "tests/support.h"

using cuemu::tests::Array;
using cuemu::tests::count_up;
using cuemu::tests::must;

namespace {

__global__ void write_index(int* out, int width) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x;
  const int y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < width) out[y * width + x] = y * 1000 + x;
}

__global__ void sum_block(float* out, const float* in, int count) {
  GPU_SHARED(float[32], sums);
  float sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += in[blockIdx.x * count + i];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, offset);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  float total = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) total += sums[warp];
  out[blockIdx.x] = total;
}

__global__ void reverse_dynamic(int* data, int count) {
  int* shared = gpu::dynamic_shared<int>();
  for (int i = threadIdx.x; i < count; i += blockDim.x) shared[i] = data[i];
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) data[i] = shared[count - 1 - i];
}

__global__ void collectives(int* out) {
  const int lane = threadIdx.x;
  out[lane] = __shfl_sync(0xFFFFFFFFu, lane, 5);
  out[32 + lane] = __shfl_up_sync(0xFFFFFFFFu, lane, 3);
  out[64 + lane] = __shfl_down_sync(0xFFFFFFFFu, lane, 3, 16);
  out[96 + lane] = static_cast<int>(__ballot_sync(0xFFFFFFFFu, lane % 3 == 0));
  // Half a warp among itself.
  if (lane < 16) out[128 + lane] = __shfl_xor_sync(0x0000FFFFu, lane, 1);
}

__global__ void count_atomically(int* counter, float* sum) {
  atomicAdd(counter, 1);
  atomicAdd(sum, 0.5f);
}

/** d[16][8] = a[16][16] b[16][8], both bf16 in shared memory, b stored [16][8] and loaded transposed. */
__global__ void multiply(float* d, const bf16* a, const bf16* b) {
  GPU_SHARED(bf16[16 * 16], a_tile);
  GPU_SHARED(bf16[16 * 8], b_tile);
  const int lane = threadIdx.x;
  gpu::copy_async_16(&a_tile[lane * 8], &a[lane * 8]);
  if (lane < 16) gpu::copy_async_16(&b_tile[lane * 8], &b[lane * 8]);
  gpu::commit_copies();
  gpu::wait_copies<0>();
  __syncwarp();
  uint32_t a_fragments[4];
  gpu::load_matrix_x4(a_fragments, &a_tile[lane % 16 * 16 + lane / 16 * 8]);
  uint32_t b_fragments[4];
  gpu::load_matrix_x4_transposed(b_fragments, &b_tile[lane % 16 * 8]);
  float result[4] = {};
  gpu::mma_bf16(result, a_fragments, b_fragments);
  for (int i = 0; i < 4; i++) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = result[i];
}

}  // namespace

TEST(indices_cover_grid_and_block) {
  const int width = 37;
  Array<int> out(width * 6);
  must(gpu::launch("write_index", {.grid = dim3(3, 3), .block = dim3(16, 2)}, write_index, out.data(), width));
  const auto values = out.read();
  for (int y = 0; y < 6; y++) {
    for (int x = 0; x < width; x++) CHECK_EQUAL(values[y * width + x], y * 1000 + x);
  }
}

TEST(block_sums_through_shared_memory) {
  const int count = 333;
  const int num_blocks = 5;
  Array<float> in(count_up<float>(count * num_blocks));
  Array<float> out(num_blocks);
  must(gpu::launch("sum_block", {.grid = dim3(num_blocks), .block = dim3(128)}, sum_block, out.data(), in.data(), count));
  const auto sums = out.read();
  for (int block = 0; block < num_blocks; block++) {
    // 333 numbers from 333 * block on: exact in fp32.
    CHECK_EQUAL(sums[block], static_cast<float>(count * (count * block) + count * (count - 1) / 2));
  }
}

TEST(dynamic_shared_memory_beyond_48_kib) {
  const int count = 20'000;
  Array<int> data(count_up<int>(count));
  const gpu::LaunchShape shape = {.grid = dim3(1), .block = dim3(64), .dynamic_bytes = count * sizeof(int)};
  must(gpu::launch("reverse_dynamic", shape, reverse_dynamic, data.data(), count));
  const auto values = data.read();
  for (int i = 0; i < count; i++) CHECK_EQUAL(values[i], count - 1 - i);
}

TEST(warp_collectives) {
  Array<int> out(144);
  must(gpu::launch("collectives", {.grid = dim3(1), .block = dim3(32)}, collectives, out.data()));
  const auto values = out.read();
  for (int lane = 0; lane < 32; lane++) {
    CHECK_EQUAL(values[lane], 5);
    CHECK_EQUAL(values[32 + lane], lane < 3 ? lane : lane - 3);
    CHECK_EQUAL(values[64 + lane], lane % 16 + 3 < 16 ? lane + 3 : lane);
    CHECK_EQUAL(values[96 + lane], 0x49249249);
    if (lane < 16) CHECK_EQUAL(values[128 + lane], lane ^ 1);
  }
}

TEST(atomics_lose_nothing) {
  Array<int> counter(std::vector<int>{0});
  Array<float> sum(std::vector<float>{0});
  must(gpu::launch("count", {.grid = dim3(7), .block = dim3(96)}, count_atomically, counter.data(), sum.data()));
  CHECK_EQUAL(counter.read()[0], 7 * 96);
  CHECK_EQUAL(sum.read()[0], 7 * 48.0f);
}

TEST(matrix_instructions_multiply) {
  std::vector<bf16> a(16 * 16), b(16 * 8);
  // Small whole numbers: every order of the sums gives the same.
  for (size_t i = 0; i < a.size(); i++) a[i] = __float2bfloat16(static_cast<float>(i * 7 % 13) - 6);
  for (size_t i = 0; i < b.size(); i++) b[i] = __float2bfloat16(static_cast<float>(i * 5 % 11) - 5);
  Array<bf16> a_device(a), b_device(b);
  Array<float> d(16 * 8);
  must(gpu::launch("multiply", {.grid = dim3(1), .block = dim3(32)}, multiply, d.data(), a_device.data(), b_device.data()));
  const auto values = d.read();
  for (int row = 0; row < 16; row++) {
    for (int col = 0; col < 8; col++) {
      float expected = 0;
      for (int k = 0; k < 16; k++) expected += __bfloat162float(a[row * 16 + k]) * __bfloat162float(b[k * 8 + col]);
      CHECK_EQUAL(values[row * 8 + col], expected);
    }
  }
}

TEST(bad_launches_are_errors) {
  Array<int> out(1);
  const auto attempt = [&](gpu::LaunchShape shape) { return gpu::launch("bad", shape, write_index, out.data(), 0); };
  CHECK_EQUAL(attempt({.grid = dim3(1), .block = dim3(1025)}), cudaErrorInvalidConfiguration);
  CHECK_EQUAL(attempt({.grid = dim3(0), .block = dim3(32)}), cudaErrorInvalidConfiguration);
  CHECK_EQUAL(attempt({.grid = dim3(1, 65536), .block = dim3(32)}), cudaErrorInvalidConfiguration);
  CHECK_EQUAL(attempt({.grid = dim3(1), .block = dim3(32), .dynamic_bytes = 1 << 20}), cudaErrorInvalidValue);
  // More than L4 and RTX have, though less than H100.
  CHECK_EQUAL(attempt({.grid = dim3(1), .block = dim3(32), .dynamic_bytes = 100 << 10}), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaGetLastError(), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaGetLastError(), cudaSuccess);
}
