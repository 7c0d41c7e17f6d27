/** Owns a step's draws on the device: parameters and lists there in one copy, ids and log-probabilities back in another. */
#pragma once

#include "model/scratch.h"
#include "ops/cuda/device.h"
#include "ops/ops.h"

namespace tessera::cuda {

class Sampler {
 public:
  explicit Sampler(Device& device) : device_(device) {}

  /** Draws a token of each row of fp32 logits, whose memory is the device's; waits for the results. */
  void run(Ops& ops, const Rows& logits, std::span<const SamplingParams> params, std::span<SampledToken> out);

 private:
  Device& device_;
  PinnedMemory host_, results_;
  Scratch parameters_, workspace_, sampled_;
};

}  // namespace tessera::cuda
