/** Owns the KV cache in device memory: a pool of pages for each layer, in the layout of `PagedLayer`. */
#pragma once

#include <algorithm>
#include <vector>

#include "ops/cuda/device.h"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

static_assert(kPageTokens == kKvBlockSize);

class PagedKv final : public KvCache {
 public:
  PagedKv(const Device& device, const KvShape& shape, uint64_t budget_bytes, int min_blocks) {
    const uint64_t page_bytes = uint64_t{2} * sizeof(__nv_bfloat16) * kPageTokens * shape.num_kv_heads * shape.head_dim;
    const uint64_t fitting = budget_bytes / (page_bytes * shape.num_layers);
    num_blocks = static_cast<int>(std::clamp<uint64_t>(fitting, min_blocks, INT32_MAX));
    bytes = page_bytes * num_blocks * shape.num_layers;
    for (int i = 0; i < shape.num_layers; i++) {
      memory_.push_back(device.allocate_raw(page_bytes * num_blocks));
      layers_.push_back({static_cast<__nv_bfloat16*>(memory_[i].memory.get()), shape.num_kv_heads, shape.head_dim});
    }
  }
  const PagedLayer& layer(int index) const { return layers_[index]; }

 private:
  std::vector<Buffer> memory_;
  std::vector<PagedLayer> layers_;
};

}  // namespace tessera::cuda
