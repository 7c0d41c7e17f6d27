/** Owns consecutive layers of the decoder: whole on one device, or on several that compute each of them together. */
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/decoder_shard.h"
#include "ops/device_group.h"

namespace tessera {

class DecoderStage {
 public:
  /** One shard for each device of `group`, which outlives the stage. */
  DecoderStage(std::vector<std::unique_ptr<DecoderShard>> shards, DeviceGroup& group)
      : shards_(std::move(shards)), group_(group) {}

  std::span<const std::unique_ptr<DecoderShard>> shards() const { return shards_; }
  /** Of the first shard. */
  Ops& ops() const { return shards_[0]->ops(); }

  /** Room for what comes from a stage on another device; a stage with several shards is the only one. */
  Rows room(size_t rows, size_t cols) { return shards_[0]->room(rows, cols); }
  /** Runs the layers over the residual stream in place, of which each device has a copy, and writes keys and values. */
  void run(std::span<const Rows> x, const StepLayout& step);

 private:
  std::vector<std::unique_ptr<DecoderShard>> shards_;
  DeviceGroup& group_;
};

}  // namespace tessera
