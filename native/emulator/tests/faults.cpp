/**
 * Owns kernels and calls that are wrong, one a name: `faults NAME` must not end well. What finds a fault is a report of
 * the emulator or a sanitizer, or a result that is not the one expected.
 */
#include <cstdio>
#include <string_view>

#include "tests/support.h"

using cuemu::tests::Array;
using cuemu::tests::count_up;
using cuemu::tests::must;
using cuemu::tests::Stream;

namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;

/** out[i] = in[neighbour of i], handed over through shared memory in two rounds. `fault` leaves something out. */
enum class Barrier { kRight, kNone, kNoneBetween, kHalf, kDiverged };
template <Barrier kBarrier>
__global__ void exchange(int* out, const int* in) {
  GPU_SHARED(int[64], values);
  const int i = threadIdx.x;
  for (int round = 0; round < 2; round++) {
    values[i] = in[round * 64 + i];
    if (kBarrier == Barrier::kDiverged && i < 32) {
      __syncthreads();
    } else if (kBarrier != Barrier::kNone && (kBarrier != Barrier::kHalf || i < 32)) {
      __syncthreads();
    }
    out[round * 64 + i] = values[(i + 33) % 64];
    if (kBarrier != Barrier::kNoneBetween) __syncthreads();
  }
}

__global__ void exchange_in_warp(int* out, bool is_synced) {
  GPU_SHARED(int[32], values);
  values[threadIdx.x] = threadIdx.x;
  if (is_synced) __syncwarp();
  out[threadIdx.x] = values[threadIdx.x ^ 1];
}

template <bool kWaits>
__global__ void copy_through(int* out, const int* in) {
  GPU_SHARED(int[128], values);
  gpu::copy_async_16(&values[threadIdx.x * 4], &in[threadIdx.x * 4]);
  gpu::commit_copies();
  if (kWaits) gpu::wait_copies<0>();
  __syncthreads();
  for (int i = 0; i < 4; i++) out[threadIdx.x * 4 + i] = values[threadIdx.x * 4 + i];
  if (!kWaits) gpu::wait_copies<0>();
}

__global__ void leave_copies(const int* in) {
  GPU_SHARED(int[128], values);
  gpu::copy_async_16(&values[threadIdx.x * 4], &in[threadIdx.x * 4]);
  gpu::commit_copies();
}

__global__ void read_beyond(int* out, const int* in) { out[threadIdx.x] = in[threadIdx.x + 1]; }

__global__ void write_shared_beyond(int* out) {
  GPU_SHARED(int[32], values);
  values[threadIdx.x + 1] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

__global__ void read_unset_shared(float* out) {
  GPU_SHARED(float[64], values);
  if (threadIdx.x < 16) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

/** Variables and dynamic memory are below 48 KiB each, and together above. */
__global__ void share_too_much(float* out) {
  GPU_SHARED(float[256], values);
  values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x] + (gpu::dynamic_shared<float>() == values ? 1.0f : 0.0f);
}

__global__ void copy_floats(float* out, const float* in) { out[threadIdx.x] = in[threadIdx.x]; }

/** What a function returns is stored as well. */
__global__ void all_blocks_round(bf16* out) { out[threadIdx.x] = __float2bfloat16(static_cast<float>(threadIdx.x)); }

__global__ void all_blocks_write(int* out) { out[threadIdx.x] = blockIdx.x; }

__global__ void diverge_in_warp(int* out) {
  out[threadIdx.x] = threadIdx.x < 16 ? __shfl_xor_sync(kAll, 1, 1) : static_cast<int>(__ballot_sync(kAll, 1));
}

__global__ void load_misaligned(int* out) {
  GPU_SHARED(bf16[32 * 16], tile);
  for (int i = threadIdx.x; i < 32 * 16; i += 32) tile[i] = __float2bfloat16(0);
  __syncwarp();
  uint32_t fragments[4];
  gpu::load_matrix_x4(fragments, &tile[threadIdx.x * 8 + 1]);
  out[threadIdx.x] = static_cast<int>(fragments[0]);
}

__global__ void load_misaligned_vector(float* out, const float* in) {
  const auto four = *reinterpret_cast<const float4*>(in + 1);
  out[threadIdx.x] = four.x;
}

__global__ void wait_for_nobody() {
  if (threadIdx.x < 16) __shfl_sync(0x0001FFFFu, 1, 0);
  else if (threadIdx.x > 16) __syncthreads();
  else __ballot_sync(0x00030000u, 1);
}

__global__ void add_one(int* data) { data[threadIdx.x] += 1; }

int expect(bool is_right) { return is_right ? 0 : 1; }

const gpu::LaunchShape kOneWarp = {.grid = dim3(1), .block = dim3(32)};
const gpu::LaunchShape kTwoWarps = {.grid = dim3(1), .block = dim3(64)};

template <Barrier kBarrier>
int run_exchange() {
  Array<int> in(count_up<int>(128)), out(128);
  must(gpu::launch("exchange", kTwoWarps, exchange<kBarrier>, out.data(), in.data()));
  const auto values = out.read();
  bool is_right = true;
  for (int i = 0; i < 128; i++) is_right &= values[i] == i / 64 * 64 + (i % 64 + 33) % 64;
  return expect(is_right);
}

template <bool kWaits>
int run_copy_through() {
  Array<int> in(count_up<int>(128)), out(128);
  must(gpu::launch("copy_through", kOneWarp, copy_through<kWaits>, out.data(), in.data()));
  return expect(out.read() == count_up<int>(128));
}

int run_in_warp(bool is_synced) {
  Array<int> out(32);
  must(gpu::launch("exchange_in_warp", kOneWarp, exchange_in_warp, out.data(), is_synced));
  return expect(out.read()[7] == 6);
}

/** A graph over memory that is gone when it runs. */
int run_stale_graph() {
  Stream stream;
  auto* data = new Array<int>(count_up<int>(32));
  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  must(gpu::launch("add_one", {.grid = dim3(1), .block = dim3(32), .stream = stream}, add_one, data->data()));
  cudaGraph_t graph;
  must(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t executable;
  must(cudaGraphInstantiate(&executable, graph, 0));
  delete data;
  must(cudaGraphLaunch(executable, stream));
  must(cudaStreamSynchronize(stream));
  return 0;
}

/** The host reads pinned memory without waiting for the copy. */
int run_unawaited_copy() {
  Stream stream;
  Array<int> data(count_up<int>(32));
  int* host;
  must(cudaMallocHost(reinterpret_cast<void**>(&host), 128));
  host[31] = -1;
  must(cudaMemcpyAsync(host, data.data(), 128, cudaMemcpyDeviceToHost, stream));
  const int result = expect(host[31] == 31);
  must(cudaFreeHost(host));
  return result;
}

/** Two streams, the second in need of what the first does, without an event between them. */
int run_unordered_streams() {
  Stream first, second;
  Array<int> data(std::vector<int>(32, 0));
  int* host;
  must(cudaMallocHost(reinterpret_cast<void**>(&host), 128));
  must(gpu::launch("add_one", {.grid = dim3(1), .block = dim3(32), .stream = first}, add_one, data.data()));
  must(cudaMemcpyAsync(host, data.data(), 128, cudaMemcpyDeviceToHost, second));
  must(cudaStreamSynchronize(second));
  const int result = expect(host[0] == 1);
  must(cudaFreeHost(host));
  return result;
}

int run_without_peer() {
  Array<int> data(count_up<int>(32));
  must(cudaSetDevice(1));
  Stream stream;
  must(gpu::launch("add_one", {.grid = dim3(1), .block = dim3(32), .stream = stream}, add_one, data.data()));
  must(cudaStreamSynchronize(stream));
  must(cudaSetDevice(0));
  return 0;
}

int run(std::string_view fault) {
  if (fault == "none") {
    return run_exchange<Barrier::kRight>() + run_copy_through<true>() + run_in_warp(true);
  }
  if (fault == "missing_barrier") return run_exchange<Barrier::kNone>();
  if (fault == "missing_barrier_before_overwrite") return run_exchange<Barrier::kNoneBetween>();
  if (fault == "half_skips_the_barrier") return run_exchange<Barrier::kHalf>();
  if (fault == "diverged_barrier") return run_exchange<Barrier::kDiverged>();
  if (fault == "missing_syncwarp") return run_in_warp(false);
  if (fault == "copy_not_waited_for") return run_copy_through<false>();
  if (fault == "stale_graph") return run_stale_graph();
  if (fault == "unawaited_copy") return run_unawaited_copy();
  if (fault == "unordered_streams") return run_unordered_streams();
  if (fault == "no_peer_access") return run_without_peer();

  Array<int> ints(count_up<int>(128)), out(64);
  Array<float> floats(64), unset(64);
  if (fault == "exit_with_copies") must(gpu::launch("leave_copies", kOneWarp, leave_copies, ints.data()));
  if (fault == "read_out_of_bounds") must(gpu::launch("read_beyond", kOneWarp, read_beyond, out.data(), ints.data() + 96));
  if (fault == "shared_out_of_bounds") must(gpu::launch("write_beyond", kOneWarp, write_shared_beyond, out.data()));
  if (fault == "shared_beyond_48_kib") {
    const auto* kernel = reinterpret_cast<const void*>(share_too_much);
    must(cuemu::launch({.name = "share_too_much", .function = kernel, .grid = dim3(1), .block = dim3(64),
                        .dynamic_bytes = 48 << 10, .body = [to = floats.data()] { share_too_much(to); }}, nullptr));
  }
  if (fault == "unset_shared") must(gpu::launch("read_unset", kTwoWarps, read_unset_shared, floats.data()));
  if (fault == "unset_device_memory") must(gpu::launch("copy", kTwoWarps, copy_floats, floats.data(), unset.data()));
  if (fault == "race_between_blocks") {
    must(gpu::launch("all_blocks_write", {.grid = dim3(2), .block = dim3(32)}, all_blocks_write, out.data()));
  }
  if (fault == "race_of_rounded_stores") {
    auto* rounded = reinterpret_cast<bf16*>(out.data());
    must(gpu::launch("all_blocks_round", {.grid = dim3(2), .block = dim3(32)}, all_blocks_round, rounded));
  }
  if (fault == "diverged_collective") must(gpu::launch("diverge", kOneWarp, diverge_in_warp, out.data()));
  if (fault == "misaligned_load") must(gpu::launch("load_misaligned", kOneWarp, load_misaligned, out.data()));
  if (fault == "misaligned_vector_load") {
    must(gpu::launch("load_vector", kOneWarp, load_misaligned_vector, floats.data(),
                     reinterpret_cast<const float*>(ints.data())));
  }
  if (fault == "stream_of_another_device") {
    Stream stream;
    must(cudaSetDevice(1));
    must(gpu::launch("add_one", {.grid = dim3(1), .block = dim3(32), .stream = stream}, add_one, ints.data()));
  }
  if (fault == "deadlock") must(gpu::launch("wait_for_nobody", kOneWarp, wait_for_nobody));
  if (fault == "host_reads_device") return expect(ints.data()[5] == 6);
  if (fault == "unset_shared" || fault == "unset_device_memory") return expect(floats.read()[40] == 1);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const int result = run(argc > 1 ? argv[1] : "none");
  std::printf("%s\n", result == 0 ? "as if nothing were wrong" : "a wrong result");
  return result;
}
