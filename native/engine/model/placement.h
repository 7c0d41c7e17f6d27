/**
 * Owns the devices of an engine and which of them holds each decoder layer. The first holds everything else too: tower,
 * projector, embeddings, final norm, head. Who decides is the caller: `gpu-worker/plan/split_layers.ts`.
 */
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "ops/ops.h"

namespace tessera {

class Placement {
 public:
  /** `layer_devices` [layers] or empty: all on the first. `open` makes the device of a number. */
  Placement(std::span<const int> layer_devices, const std::function<std::unique_ptr<Ops>(int)>& open)
      : layer_devices_(layer_devices.begin(), layer_devices.end()) {
    const int last = layer_devices_.empty() ? 0 : *std::max_element(layer_devices_.begin(), layer_devices_.end());
    for (int i = 0; i <= last; i++) devices_.push_back(open(i));
  }

  int num_devices() const { return static_cast<int>(devices_.size()); }
  Ops& first() const { return *devices_[0]; }
  Ops& of_layer(size_t layer) const { return *devices_[layer_devices_.empty() ? 0 : layer_devices_[layer]]; }

 private:
  std::vector<int> layer_devices_;
  std::vector<std::unique_ptr<Ops>> devices_;
};

}  // namespace tessera
