/**
 * Owns the CPU's paged keys and values. A block of one head is two weight panels, so that attention runs on the same
 * kernels as every other product:
 *   keys    [head_dim / step][32 tokens][step]              scores = q * keys
 *   values  [head_dim / 32][32 tokens / step][32][step]     out = probabilities * values
 * Blocks lie [layer][block][head][keys | values]: blocks taken one after the other are read as one stream.
 */
#pragma once

#include "ops/cpu/kernels.h"
#include "ops/ops.h"
#include "runtime/aligned_memory.h"

namespace tessera::cpu {

static_assert(kKvBlockSize == kPanelWidth, "a KV block is a panel");

/** Element offsets inside one head's keys and values. */
struct KvPanel {
  size_t step;      // k_step of the products
  size_t head_dim;

  size_t key_steps() const { return (head_dim + step - 1) / step; }
  size_t keys_size() const { return key_steps() * step * kPanelWidth; }
  size_t value_panels() const { return (head_dim + kPanelWidth - 1) / kPanelWidth; }
  /** Elements of one value panel over `tokens`, a multiple of the step. */
  size_t value_panel_size(size_t tokens) const { return tokens * kPanelWidth; }
  size_t key(size_t token, size_t dim) const {
    return dim / step * (kPanelWidth * step) + token * step + dim % step;
  }
  size_t value(size_t token, size_t dim, size_t tokens) const {
    return dim / kPanelWidth * value_panel_size(tokens) + token / step * (kPanelWidth * step) +
           dim % kPanelWidth * step + token % step;
  }
};

class PagedKv final : public KvCache {
 public:
  /** Elements are of `kernel.b_bytes`: bf16 or fp32. */
  PagedKv(const KvShape& shape, const MatrixKernel& kernel, uint64_t budget_bytes, int min_blocks);

  const MatrixKernel& kernel() const { return *kernel_; }
  const KvPanel& panel() const { return panel_; }
  char* keys(int layer, int block, int head) const {
    return memory_.as<char>() + (static_cast<size_t>(layer) * num_blocks + block) * block_bytes_ + head * head_bytes_;
  }
  char* values(int layer, int block, int head) const {
    return keys(layer, block, head) + panel_.keys_size() * kernel_->b_bytes;
  }

  /** Writes one token's key and value, rounded to the cache's type. */
  void store(int layer, int block, int head, int slot, const float* key, const float* value) const;

 private:
  const MatrixKernel* kernel_;
  KvPanel panel_;
  size_t head_bytes_;
  size_t block_bytes_;  // of one layer
  AlignedMemory memory_;
};

/** Writes `value` at element `index` of an array of fp32 or bf16. */
inline void store_element(char* data, size_t b_bytes, size_t index, float value) {
  if (b_bytes == 4) {
    reinterpret_cast<float*>(data)[index] = value;
  } else {
    reinterpret_cast<uint16_t*>(data)[index] = to_bf16(value);
  }
}

}  // namespace tessera::cpu
