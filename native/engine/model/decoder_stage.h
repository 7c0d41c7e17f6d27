/** Owns consecutive layers of the decoder on one device: their cache, scratch memory and the way through them. */
#pragma once

#include <memory>
#include <span>

#include "model/config.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace tessera {

class DecoderStage {
 public:
  /** `layers` [first_layer, first_layer + n) of the decoder's, whose weights are on `ops`; all outlive the stage. */
  DecoderStage(const DecoderConfig& config, std::span<const DecoderLayer> layers, Ops& ops, uint64_t kv_cache_bytes);

  int num_kv_blocks() const { return cache_->num_blocks; }
  Ops& ops() const { return ops_; }

  /** Activations of another device, copied to this one; valid until the next call. */
  Rows take(const Rows& x, Ops& from);
  /** Runs the layers over `x` in place, and writes their keys and values. */
  void run(const Rows& x, const StepLayout& step);

 private:
  void run_layer(size_t index, const Rows& x, const StepLayout& step);

  const DecoderConfig& config_;
  const std::span<const DecoderLayer> layers_;
  Ops& ops_;
  std::unique_ptr<KvCache> cache_;
  Scratch taken_, normal_, qkv_, attended_, wide_;
};

}  // namespace tessera
