#include "ops/cpu/paged_kv.h"

#include <algorithm>

namespace tessera::cpu {

PagedKv::PagedKv(const KvShape& shape, const MatrixKernel& kernel, uint64_t budget_bytes, int min_blocks)
    : kernel_(&kernel), panel_{kernel.k_step, static_cast<size_t>(shape.head_dim)} {
  const size_t elements = panel_.keys_size() + panel_.value_panels() * panel_.value_panel_size(kKvBlockSize);
  head_bytes_ = elements * kernel.b_bytes;
  block_bytes_ = head_bytes_ * shape.num_kv_heads;
  const uint64_t all_layers = block_bytes_ * shape.num_layers;
  const uint64_t fitting = std::min<uint64_t>(budget_bytes / all_layers, INT32_MAX);
  num_blocks = std::max(min_blocks, static_cast<int>(fitting));
  memory_ = AlignedMemory(all_layers * num_blocks);
}

void PagedKv::store(int layer, int block, int head, int slot, const float* key, const float* value) const {
  char* k = keys(layer, block, head);
  char* v = values(layer, block, head);
  for (size_t dim = 0; dim < panel_.head_dim; dim++) {
    store_element(k, kernel_->b_bytes, panel_.key(slot, dim), key[dim]);
    const size_t at = panel_.value(slot, dim, kKvBlockSize);
    store_element(v, kernel_->b_bytes, at, value[dim]);
    // The other half of a pair is multiplied with it, by a probability of 0. What an earlier owner left there may not
    // be a number, and 0 * NaN is one: clear it. The next token writes it.
    if (panel_.step == 2 && slot % 2 == 0) store_element(v, kernel_->b_bytes, at + 1, 0.0f);
  }
}

}  // namespace tessera::cpu
