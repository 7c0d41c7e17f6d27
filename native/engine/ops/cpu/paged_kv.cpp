#include "ops/cpu/paged_kv.h"

#include <algorithm>

namespace tessera::cpu {

PagedKv::PagedKv(const KvShape& shape, const MatrixKernel& kernel, uint64_t budget_bytes, int min_blocks)
    : kernel_(&kernel), panel_{kernel.k_step, static_cast<size_t>(shape.head_dim)},
      num_kv_heads_(shape.num_kv_heads), keys_bytes_(panel_.keys_size() * kernel.b_bytes),
      values_bytes_(panel_.value_panels() * panel_.value_panel_size(kKvBlockSize) * kernel.b_bytes) {
  const size_t block_bytes = num_kv_heads_ * (keys_bytes_ + values_bytes_);  // of one layer
  const uint64_t fitting = std::min<uint64_t>(budget_bytes / (block_bytes * shape.num_layers), INT32_MAX);
  num_blocks = std::max(min_blocks, static_cast<int>(fitting));
  layer_bytes_ = block_bytes * num_blocks;
  bytes = layer_bytes_ * shape.num_layers;
  memory_ = AlignedMemory(bytes);
}

}  // namespace tessera::cpu
