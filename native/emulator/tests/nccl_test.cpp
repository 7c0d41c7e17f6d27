/** Owns tests of NCCL's stand-in: sums over devices, in graphs too, and every misuse that would hang or go unnoticed. */
#include <functional>
#include <vector>

#include "libraries/nccl.h"
#include "tests/check.h"

namespace {

constexpr int kUnhandledCudaError = 1;
constexpr int kInvalidArgument = 4;
constexpr int kInvalidUsage = 5;
constexpr int kFloat32 = 7;
constexpr int kCount = 40;

/** Two devices with a stream, a buffer and a rank each; device r's buffer holds 10^r * i. */
struct Ranks {
  ncclComm_t comms[2] = {};
  cudaStream_t streams[2] = {};
  float* buffers[2] = {};

  Ranks() {
    const int devices[2] = {0, 1};
    CHECK_EQUAL(ncclCommInitAll(comms, 2, devices), 0);
    for (int r = 0; r < 2; r++) {
      cudaSetDevice(r);
      cudaStreamCreateWithFlags(&streams[r], cudaStreamNonBlocking);
      cudaMalloc(reinterpret_cast<void**>(&buffers[r]), kCount * sizeof(float));
      fill(r);
    }
  }
  ~Ranks() {
    for (int r = 0; r < 2; r++) {
      cudaSetDevice(r);
      cudaStreamSynchronize(streams[r]);
      if (comms[r] != nullptr) CHECK_EQUAL(ncclCommDestroy(comms[r]), 0);
      cudaFree(buffers[r]);
      cudaStreamDestroy(streams[r]);
    }
    cudaSetDevice(0);
  }

  void fill(int r) {
    std::vector<float> values(kCount);
    for (int i = 0; i < kCount; i++) values[i] = static_cast<float>(i * (r == 0 ? 1 : 10));
    cudaMemcpy(buffers[r], values.data(), kCount * sizeof(float), cudaMemcpyHostToDevice);
  }
  std::vector<float> read(int r) {
    std::vector<float> values(kCount);
    cudaStreamSynchronize(streams[r]);
    cudaMemcpy(values.data(), buffers[r], kCount * sizeof(float), cudaMemcpyDeviceToHost);
    return values;
  }
  int reduce(int r, size_t count = kCount, int type = kFloat32, int operation = 0) {
    return ncclAllReduce(buffers[r], buffers[r], count, type, operation, comms[r], streams[r]);
  }
  int reduce_all() {
    ncclGroupStart();
    for (int r = 0; r < 2; r++) CHECK_EQUAL(reduce(r), 0);
    return ncclGroupEnd();
  }
  void check_sums(float factor) {
    for (int r = 0; r < 2; r++) {
      const std::vector<float> values = read(r);
      for (int i = 0; i < kCount; i++) CHECK_EQUAL(values[i], factor * static_cast<float>(i));
    }
  }
};

}  // namespace

TEST(sums_reach_every_rank) {
  Ranks ranks;
  CHECK_EQUAL(ranks.reduce_all(), 0);
  ranks.check_sums(11);
  // One after the other, without a wait between.
  CHECK_EQUAL(ranks.reduce_all(), 0);
  CHECK_EQUAL(ranks.reduce_all(), 0);
  ranks.check_sums(44);
}

TEST(a_rank_waits_for_work_of_the_other) {
  Ranks ranks;
  cudaSetDevice(1);
  cudaMemsetAsync(ranks.buffers[1], 0, kCount * sizeof(float), ranks.streams[1]);
  CHECK_EQUAL(ranks.reduce_all(), 0);
  ranks.check_sums(1);
}

TEST(sums_are_recorded_and_replayed) {
  Ranks ranks;
  cudaGraphExec_t executables[2] = {};
  for (cudaStream_t stream : ranks.streams) cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  CHECK_EQUAL(ranks.reduce_all(), 0);
  for (int r = 0; r < 2; r++) {
    cudaGraph_t graph = nullptr;
    CHECK_EQUAL(cudaStreamEndCapture(ranks.streams[r], &graph), cudaSuccess);
    CHECK_EQUAL(cudaGraphInstantiate(&executables[r], graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
  }
  for (int round = 0; round < 2; round++) {
    for (int r = 1; r >= 0; r--) CHECK_EQUAL(cudaGraphLaunch(executables[r], ranks.streams[r]), cudaSuccess);
  }
  ranks.check_sums(22);
  for (cudaGraphExec_t executable : executables) cudaGraphExecDestroy(executable);
}

TEST(misuse_of_nccl_is_refused) {
  Ranks ranks;
  const auto grouped = [&](const std::function<int()>& first, const std::function<int()>& second) {
    ncclGroupStart();
    const int one = first();
    const int other = second();
    const int end = ncclGroupEnd();
    return one != 0 ? one : other != 0 ? other : end;
  };
  const auto nothing = [] { return 0; };
  CHECK_EQUAL(ranks.reduce(0), kInvalidUsage);  // outside a group
  CHECK_EQUAL(grouped([&] { return ranks.reduce(0); }, nothing), kInvalidUsage);
  CHECK_EQUAL(grouped([&] { return ranks.reduce(0); }, [&] { return ranks.reduce(1, kCount - 1); }), kInvalidUsage);
  CHECK_EQUAL(grouped([&] { return ranks.reduce(0, kCount + 1); }, nothing), kInvalidArgument);
  CHECK_EQUAL(grouped([&] { return ranks.reduce(0, kCount, 9); }, nothing), kInvalidArgument);
  CHECK_EQUAL(grouped([&] { return ranks.reduce(0, kCount, kFloat32, 2); }, nothing), kInvalidArgument);
  const auto call = [&](const float* send, float* receive, ncclComm_t comm, cudaStream_t stream) {
    return grouped([&] { return ncclAllReduce(send, receive, kCount / 2, kFloat32, 0, comm, stream); }, nothing);
  };
  CHECK_EQUAL(call(ranks.buffers[0], ranks.buffers[1], ranks.comms[0], ranks.streams[0]), kInvalidArgument);
  CHECK_EQUAL(call(ranks.buffers[0], ranks.buffers[0] + 1, ranks.comms[0], ranks.streams[0]), kInvalidArgument);
  CHECK_EQUAL(call(ranks.buffers[0], ranks.buffers[0], ranks.comms[0], ranks.streams[1]), kUnhandledCudaError);
  CHECK_EQUAL(call(nullptr, ranks.buffers[0], ranks.comms[0], ranks.streams[0]), kInvalidArgument);
  CHECK_EQUAL(ncclGroupEnd(), kInvalidUsage);
  ncclComm_t more[2] = {};
  const int twice[2] = {0, 0}, missing[2] = {0, 99};
  CHECK_EQUAL(ncclCommInitAll(more, 2, twice), kInvalidUsage);
  CHECK_EQUAL(ncclCommInitAll(more, 2, missing), kInvalidArgument);
  CHECK_EQUAL(ncclCommInitAll(more, 0, nullptr), kInvalidArgument);
  // One stream that records beside one that does not.
  cudaStreamBeginCapture(ranks.streams[0], cudaStreamCaptureModeThreadLocal);
  CHECK_EQUAL(grouped([&] { return ranks.reduce(0); }, [&] { return ranks.reduce(1); }), kInvalidUsage);
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(ranks.streams[0], &graph);
  cudaGraphDestroy(graph);
  // Nothing of all that is left in line.
  CHECK_EQUAL(ranks.reduce_all(), 0);
  ranks.check_sums(11);
  const ncclComm_t gone = ranks.comms[0];
  CHECK_EQUAL(ncclCommDestroy(gone), 0);
  CHECK_EQUAL(ncclCommDestroy(gone), kInvalidArgument);
  ranks.comms[0] = nullptr;
}
