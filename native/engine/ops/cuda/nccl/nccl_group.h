/**
 * Owns GPUs that hold one model together: sums by NCCL, and steps recorded on all of them at once. One thread gives all
 * of them their work, NCCL's calls in a group as it asks of such a thread. Recorded steps are started by a thread for
 * each device: NVIDIA warns that launching a graph may wait for what the others do in theirs.
 */
#pragma once

#include <map>
#include <vector>

#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/nccl/launchers.h"
#include "ops/cuda/nccl/nccl.h"
#include "ops/device_group.h"

namespace tessera::cuda {

class NcclGroup final : public DeviceGroup {
 public:
  /** @throws Error where NCCL is not there or cannot connect the devices */
  explicit NcclGroup(std::vector<CudaOps*> devices);
  ~NcclGroup() override;

  void all_reduce(std::span<const Rows> x) override;
  void share_ids() override;
  void repeat(const std::function<void()>& body) override;

 private:
  /** A step on each device; empty until it is recorded. */
  using Recording = std::vector<cudaGraphExec_t>;

  Recording record(const std::function<void()>& body);
  void forget();
  /** Of all devices: what was recorded before another number is stale. */
  uint64_t num_moves() const;

  const std::vector<CudaOps*> devices_;
  const nccl::Library& nccl_;
  std::vector<nccl::Communicator> communicators_;
  Launchers launchers_;
  std::map<Graphs::Shape, Recording> recorded_;
  uint64_t seen_moves_ = 0;
  static constexpr size_t kMaxRecorded = 128;
};

}  // namespace tessera::cuda
