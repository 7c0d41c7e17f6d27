#include "ops/cuda/graphs.h"

#include "ops/cuda/cuda_error.h"

namespace tessera::cuda {

namespace {

cudaGraphExec_t record(cudaStream_t stream, const std::function<void()>& body) {
  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "record a step");
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    (void)cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    throw;
  }
  must(cudaStreamEndCapture(stream, &graph), "record a step");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  (void)cudaGraphDestroy(graph);
  must(error, "record a step");
  return executable;
}

}  // namespace

void Graphs::run(Shape shape, cudaStream_t stream, const std::function<void()>& body) {
  const auto found = recorded_.find(shape);
  if (found == recorded_.end()) {
    body();
    // Said last: the body's own memory may have made all that was recorded stale.
    if (recorded_.size() >= kMaxRecorded) forget();
    recorded_.emplace(shape, nullptr);
    return;
  }
  if (found->second == nullptr) found->second = record(stream, body);
  must(cudaGraphLaunch(found->second, stream), "replay a step");
}

void Graphs::forget() {
  num_forgotten_++;
  for (const auto& [shape, executable] : recorded_) {
    if (executable != nullptr) (void)cudaGraphExecDestroy(executable);
  }
  recorded_.clear();
}

}  // namespace tessera::cuda
