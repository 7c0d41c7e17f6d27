/**
 * Owns the devices of an engine and what each holds: either some of the decoder's layers, whole, or a shard of every
 * layer. The first device holds everything else too: embeddings, final norm, head, tile embeddings. Which layer is where
 * is the caller's to decide: `gpu-worker/plan/split_layers.ts`.
 */
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "ops/device_group.h"
#include "ops/ops.h"
#include "tessera/engine.h"

namespace tessera {

class Placement {
 public:
  using OpenDevice = std::function<std::unique_ptr<Ops>(int)>;
  using OpenGroup = std::function<std::unique_ptr<DeviceGroup>(std::span<Ops* const>)>;

  /** Of the options `layer_devices`, `tensor_parallel` and `vision_devices` count, which have been checked. */
  Placement(const EngineOptions& options, const OpenDevice& open, const OpenGroup& open_group);

  int num_devices() const { return static_cast<int>(devices_.size()); }
  /** Devices that compute each layer together. */
  int num_shards() const { return num_shards_; }
  /** Devices that hold the vision tower. */
  int num_towers() const { return num_towers_; }
  Ops& device(int index) const { return *devices_[index]; }
  Ops& first() const { return *devices_[0]; }
  Ops& of_layer(size_t layer, int shard) const {
    return num_shards_ > 1 ? device(shard) : device(layer_devices_.empty() ? 0 : layer_devices_[layer]);
  }
  /** Of the devices that share a layer. */
  DeviceGroup& group() const { return *group_; }

 private:
  std::vector<int> layer_devices_;
  int num_shards_;
  int num_towers_;
  std::vector<std::unique_ptr<Ops>> devices_;
  std::unique_ptr<DeviceGroup> group_;
};

}  // namespace tessera
