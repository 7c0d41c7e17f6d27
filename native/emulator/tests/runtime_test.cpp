/** Owns tests of the runtime: memory, copies, streams, events, graphs, devices. */
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tests/support.h"

using cuemu::tests::Array;
using cuemu::tests::count_up;
using cuemu::tests::must;
using cuemu::tests::Stream;

namespace {

__global__ void add(int* data, int value) { data[threadIdx.x] += value; }

/** Pinned host memory. */
struct Pinned {
  int* data = nullptr;
  explicit Pinned(size_t size) { must(cudaMallocHost(reinterpret_cast<void**>(&data), size * sizeof(int))); }
  ~Pinned() { must(cudaFreeHost(data)); }
};

cudaError_t add_on(cudaStream_t stream, int* data, int value) {
  return gpu::launch("add", {.grid = dim3(1), .block = dim3(8), .stream = stream}, add, data, value);
}

}  // namespace

TEST(a_stream_keeps_its_order) {
  Stream stream;
  Array<int> data(std::vector<int>(8, 1));
  Pinned host(8);
  must(add_on(stream, data.data(), 2));
  must(cudaMemcpyAsync(host.data, data.data(), 32, cudaMemcpyDeviceToHost, stream));
  must(add_on(stream, data.data(), 10));
  must(cudaStreamSynchronize(stream));
  CHECK_EQUAL(host.data[7], 3);
  CHECK_EQUAL(data.read()[7], 13);
}

TEST(pageable_memory_is_staged) {
  Stream stream;
  Array<int> data(8);
  std::vector<int> host(8, 4);
  must(cudaMemcpyAsync(data.data(), host.data(), 32, cudaMemcpyHostToDevice, stream));
  host.assign(8, 5);
  must(cudaMemcpyAsync(host.data(), data.data(), 32, cudaMemcpyDeviceToHost, stream));
  CHECK_EQUAL(host[0], 4);
}

TEST(events_order_streams) {
  Stream first, second;
  Array<int> data(std::vector<int>(8, 0));
  cudaEvent_t done;
  must(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  must(add_on(first, data.data(), 1));
  must(cudaEventRecord(done, first));
  must(cudaStreamWaitEvent(second, done, 0));
  Pinned host(8);
  must(cudaMemcpyAsync(host.data, data.data(), 32, cudaMemcpyDeviceToHost, second));
  must(cudaStreamSynchronize(second));
  CHECK_EQUAL(host.data[0], 1);
  CHECK_EQUAL(cudaEventQuery(done), cudaSuccess);
  must(cudaEventDestroy(done));
}

TEST(an_event_may_go_before_what_waits_for_it) {
  Stream first, second;
  Array<int> data(std::vector<int>(8, 0));
  Pinned host(8);
  for (int i = 1; i <= 4; i++) {
    cudaEvent_t done;
    must(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
    must(add_on(i % 2 == 0 ? first : second, data.data(), 1));
    must(cudaEventRecord(done, i % 2 == 0 ? first : second));
    must(cudaStreamWaitEvent(i % 2 == 0 ? second : first, done, 0));
    must(cudaEventDestroy(done));
  }
  must(cudaMemcpyAsync(host.data, data.data(), 32, cudaMemcpyDeviceToHost, second));
  must(cudaStreamSynchronize(second));
  CHECK_EQUAL(host.data[0], 4);
}

TEST(graphs_replay_what_was_recorded) {
  Stream stream, side;
  Array<int> data(std::vector<int>(8, 0));
  Pinned host(8);
  cudaEvent_t fork, joined;
  must(cudaEventCreate(&fork));
  must(cudaEventCreate(&joined));
  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  must(add_on(stream, data.data(), 1));
  must(cudaEventRecord(fork, stream));
  must(cudaStreamWaitEvent(side, fork, 0));
  must(add_on(side, data.data(), 2));
  must(cudaEventRecord(joined, side));
  must(cudaStreamWaitEvent(stream, joined, 0));
  must(cudaMemcpyAsync(host.data, data.data(), 32, cudaMemcpyDeviceToHost, stream));
  cudaGraph_t graph;
  must(cudaStreamEndCapture(stream, &graph));
  CHECK_EQUAL(data.read()[0], 0);
  cudaGraphExec_t executable;
  must(cudaGraphInstantiate(&executable, graph, 0));
  must(cudaGraphDestroy(graph));
  for (int i = 0; i < 3; i++) must(cudaGraphLaunch(executable, stream));
  must(cudaStreamSynchronize(stream));
  CHECK_EQUAL(host.data[3], 9);
  must(cudaGraphExecDestroy(executable));
  must(cudaEventDestroy(fork));
  must(cudaEventDestroy(joined));
}

TEST(a_capture_is_spoiled_by_what_waits) {
  Stream stream, side;
  cudaGraph_t graph;
  void* memory;
  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK_EQUAL(cudaMalloc(&memory, 16), cudaErrorStreamCaptureUnsupported);
  CHECK_EQUAL(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);

  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK_EQUAL(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  CHECK_EQUAL(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);

  cudaEvent_t fork;
  must(cudaEventCreate(&fork));
  const auto spoils = [&](cudaError_t expected, auto call) {
    must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    must(cudaEventRecord(fork, stream));
    CHECK_EQUAL(call(), expected);
    CHECK_EQUAL(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  };
  void* pinned = nullptr;
  must(cudaMallocHost(&pinned, 16));
  spoils(cudaErrorStreamCaptureUnsupported, [&] { return cudaMallocHost(&memory, 16); });
  spoils(cudaErrorStreamCaptureUnsupported, [&] { return cudaFreeHost(pinned); });
  spoils(cudaErrorStreamCaptureUnsupported, [&] { return cudaStreamQuery(stream); });
  spoils(cudaErrorStreamCaptureUnsupported, [] { return cudaDeviceSynchronize(); });
  spoils(cudaErrorCapturedEvent, [&] { return cudaEventSynchronize(fork); });
  spoils(cudaErrorCapturedEvent, [&] { return cudaEventQuery(fork); });
  must(cudaFreeHost(pinned));

  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  must(cudaEventRecord(fork, stream));
  must(cudaStreamWaitEvent(side, fork, 0));
  CHECK_EQUAL(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnjoined);
  must(cudaEventDestroy(fork));
  cudaGetLastError();
}

TEST(work_without_a_stream_waits_for_streams_that_were_not_set_apart) {
  Stream apart;
  cudaStream_t usual;
  must(cudaStreamCreate(&usual));
  Array<int> data(std::vector<int>(8, 0)), other(std::vector<int>(8, 0));
  must(add_on(usual, data.data(), 1));
  CHECK_EQUAL(data.read()[0], 1);
  const char* streams = std::getenv("CUEMU_STREAMS");
  const char* seed = std::getenv("CUEMU_SEED");
  const bool is_lazy = (streams == nullptr || std::string_view(streams) == "lazy") &&
                       (seed == nullptr || std::string_view(seed) == "0");
  must(add_on(apart, other.data(), 1));
  if (is_lazy) CHECK_EQUAL(other.read()[0], 0);
  must(cudaStreamSynchronize(apart));
  CHECK_EQUAL(other.read()[0], 1);
  must(cudaStreamDestroy(usual));
}

TEST(streams_and_events_belong_to_a_device) {
  int count = 0;
  must(cudaGetDeviceCount(&count));
  if (count < 2) return;
  Stream first;
  Array<int> data(std::vector<int>(8, 0));
  must(cudaSetDevice(1));
  cudaEvent_t event;
  must(cudaEventCreate(&event));
  CHECK_EQUAL(add_on(first, data.data(), 1), cudaErrorInvalidResourceHandle);
  must(cudaSetDevice(0));
  CHECK_EQUAL(cudaEventRecord(event, first), cudaErrorInvalidResourceHandle);
  must(cudaEventDestroy(event));
  cudaGetLastError();
}

TEST(copies_are_checked) {
  Array<int> data(8);
  std::vector<int> host(64);
  CHECK_EQUAL(cudaMemcpy(data.data(), host.data(), 33, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaMemcpy(data.data() + 8, host.data(), 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaMemcpy(host.data(), data.data(), 32, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaFree(data.data() + 1), cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST(memory_runs_out) {
  void* memory = nullptr;
  CHECK_EQUAL(cudaMalloc(&memory, size_t{1} << 50), cudaErrorMemoryAllocation);
  CHECK(memory == nullptr);
  size_t free_before, free_after, total;
  must(cudaMemGetInfo(&free_before, &total));
  {
    Array<char> block(1000);
    must(cudaMemGetInfo(&free_after, &total));
    CHECK_EQUAL(free_before - free_after, 1024u);
  }
  must(cudaMemGetInfo(&free_after, &total));
  CHECK_EQUAL(free_before, free_after);
  cudaGetLastError();
}

TEST(devices_are_apart) {
  int count;
  must(cudaGetDeviceCount(&count));
  if (count < 2) return;  // CUEMU_DEVICES says how many
  Array<int> data(count_up<int>(8));
  must(cudaSetDevice(1));
  int* copy;
  must(cudaMalloc(reinterpret_cast<void**>(&copy), 32));
  Stream stream;
  must(cudaMemcpyPeerAsync(copy, 1, data.data(), 0, 32, stream));
  must(add_on(stream, copy, 100));
  must(cudaStreamSynchronize(stream));
  std::vector<int> host(8);
  must(cudaMemcpy(host.data(), copy, 32, cudaMemcpyDeviceToHost));
  CHECK_EQUAL(host[7], 107);
  must(cudaFree(copy));
  must(cudaSetDevice(0));
  CHECK_EQUAL(cudaSetDevice(count), cudaErrorInvalidDevice);
  cudaGetLastError();
}
