#include "model/placement.h"

#include <algorithm>

namespace tessera {

Placement::Placement(const EngineOptions& options, const OpenDevice& open, const OpenGroup& open_group)
    : layer_devices_(options.layer_devices), num_shards_(options.tensor_parallel) {
  const int last = layer_devices_.empty() ? 0 : *std::max_element(layer_devices_.begin(), layer_devices_.end());
  const int count = std::max(num_shards_, last + 1);
  for (int i = 0; i < count; i++) devices_.push_back(open(i));
  // A layer split gives the first device fewer layers because it has the tower; others have no room for one by default.
  num_towers_ = options.vision_devices == 0 ? num_shards_ : std::min(options.vision_devices, count);
  std::vector<Ops*> all;
  for (const auto& device : devices_) all.push_back(device.get());
  group_ = num_shards_ > 1 ? open_group(all) : std::make_unique<LoneDevice>(first());
}

}  // namespace tessera
