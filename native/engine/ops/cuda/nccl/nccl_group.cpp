#include "ops/cuda/nccl/nccl_group.h"

#include <string>

#include "ops/cuda/cuda_error.h"

namespace tessera::cuda {

namespace {

void must_nccl(const nccl::Library& nccl, int status, const char* action) {
  if (status == nccl::kSuccess) return;
  const char* detail = nccl.last_error(nullptr);
  const std::string more = detail == nullptr || *detail == 0 ? "" : std::string(" (") + detail + ")";
  refuse(std::string(action) + " on several GPUs", std::string("NCCL says ") + nccl.error_text(status) + more, "success");
}

}  // namespace

NcclGroup::NcclGroup(std::vector<CudaOps*> devices)
    : devices_(std::move(devices)), nccl_(nccl::library()), communicators_(devices_.size()),
      launchers_(static_cast<int>(devices_.size())) {
  std::vector<int> indices;
  for (const CudaOps* ops : devices_) indices.push_back(ops->device().index());
  must_nccl(nccl_, nccl_.init_all(communicators_.data(), static_cast<int>(indices.size()), indices.data()),
            "open the engine");
}

NcclGroup::~NcclGroup() {
  for (const CudaOps* ops : devices_) {
    (void)cudaSetDevice(ops->device().index());
    (void)cudaStreamSynchronize(ops->device().stream());
  }
  forget();
  for (const nccl::Communicator communicator : communicators_) (void)nccl_.destroy(communicator);
}

void NcclGroup::all_reduce(std::span<const Rows> x) {
  expects(x.size() == devices_.size(), "rows of every device");
  for (const Rows& rows : x) {
    expects(rows.element == Element::kF32 && rows.stride == rows.cols, "rows of fp32 without gaps");
  }
  for (CudaOps* ops : devices_) ops->finish();
  must_nccl(nccl_, nccl_.group_start(), "sum up");
  int failed = nccl::kSuccess;
  for (size_t i = 0; i < x.size() && failed == nccl::kSuccess; i++) {
    devices_[i]->device().use();
    failed = nccl_.all_reduce(x[i].data, x[i].data, x[i].rows * x[i].cols, nccl::kFloat32, nccl::kSum,
                              communicators_[i], devices_[i]->device().stream());
  }
  const int ended = nccl_.group_end();
  must_nccl(nccl_, failed == nccl::kSuccess ? ended : failed, "sum up");
}

void NcclGroup::share_ids() {
  for (size_t i = 1; i < devices_.size(); i++) devices_[i]->take_ids(*devices_[0]);
}

uint64_t NcclGroup::num_moves() const {
  uint64_t moves = 0;
  for (const CudaOps* ops : devices_) moves += ops->num_moves();
  return moves;
}

void NcclGroup::repeat(const std::function<void()>& body) {
  for (CudaOps* ops : devices_) ops->finish();
  const auto shape = devices_[0]->decode_shape();
  if (!shape) return body();
  if (seen_moves_ != num_moves()) forget();
  const auto found = recorded_.find(*shape);
  if (found == recorded_.end()) {
    body();
    // Said last: the body's own memory may have made all that was recorded stale.
    if (recorded_.size() >= kMaxRecorded || seen_moves_ != num_moves()) forget();
    recorded_.emplace(*shape, Recording{});
    return;
  }
  if (found->second.empty()) found->second = record(body);
  launchers_.run([&](int i) {
    const Device& device = devices_[i]->device();
    device.use();
    must(cudaGraphLaunch(found->second[i], device.stream()), "replay a step");
  });
}

NcclGroup::Recording NcclGroup::record(const std::function<void()>& body) {
  std::vector<cudaGraph_t> graphs;
  const auto end_all = [&] {
    bool all_ended = true;
    for (size_t i = 0; i < devices_.size(); i++) {
      devices_[i]->device().use();
      cudaGraph_t graph = nullptr;
      all_ended = cudaStreamEndCapture(devices_[i]->device().stream(), &graph) == cudaSuccess && all_ended;
      graphs.push_back(graph);
    }
    if (!all_ended) (void)cudaGetLastError();
    return all_ended;
  };
  const auto discard = [&] {
    for (const cudaGraph_t graph : graphs) {
      if (graph != nullptr) (void)cudaGraphDestroy(graph);
    }
  };
  try {
    for (const CudaOps* ops : devices_) {
      ops->device().use();
      must(cudaStreamBeginCapture(ops->device().stream(), cudaStreamCaptureModeThreadLocal), "record a step");
    }
    body();
  } catch (...) {
    (void)end_all();
    discard();
    throw;
  }
  Recording out(devices_.size());
  cudaError_t error = end_all() ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
  for (size_t i = 0; i < out.size() && error == cudaSuccess; i++) {
    devices_[i]->device().use();
    error = cudaGraphInstantiate(&out[i], graphs[i], 0);
  }
  discard();
  if (error != cudaSuccess) {
    for (const cudaGraphExec_t executable : out) {
      if (executable != nullptr) (void)cudaGraphExecDestroy(executable);
    }
  }
  must(error, "record a step");
  return out;
}

void NcclGroup::forget() {
  for (const auto& [shape, recording] : recorded_) {
    for (const cudaGraphExec_t executable : recording) (void)cudaGraphExecDestroy(executable);
  }
  recorded_.clear();
  seen_moves_ = num_moves();
}

}  // namespace tessera::cuda
