/** Owns a step's draws on the device: parameters and lists there in one copy, ids and log-probabilities back in another. */
#pragma once

#include <atomic>

#include "model/scratch.h"
#include "ops/cuda/device.h"
#include "ops/ops.h"

namespace tessera::cuda {

class Sampler {
 public:
  explicit Sampler(Device& device) : device_(device) {}

  /** Takes all memory of the draws of a step within these limits. */
  void reserve(Ops& ops, const WorkLimits& limits);
  /** Puts a draw of each row of fp32 logits in line, whose memory is the device's; at most `kMaxStepsInFlight` at once. */
  std::unique_ptr<Draws> begin(Ops& ops, const Rows& logits, std::span<const SamplingParams> params);
  /** Ids of the last draws on the device, by row, once they are made; null before the first. */
  const int32_t* last_ids() const { return last_ids_; }

 private:
  /** Host memory of draws on their way: nobody touches it until they are taken. */
  struct Slot {
    PinnedMemory parameters, results;
    Event done;
    std::atomic<bool> is_used = false;
  };
  class DrawsInLine;

  Slot& free_slot();

  Device& device_;
  Slot slots_[kMaxStepsInFlight];
  Scratch parameters_, workspace_, sampled_;
  const int32_t* last_ids_ = nullptr;
};

}  // namespace tessera::cuda
