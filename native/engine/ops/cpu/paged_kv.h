/**
 * Owns the CPU's paged keys and values. A block of one head is two weight panels, so that attention runs on the same
 * kernels as every other product:
 *   keys    [head_dim / step][32 tokens][step]              scores = q * keys
 *   values  [head_dim / 32][32 tokens / step][32][step]     out = probabilities * values
 * They lie [layer][keys | values][head][block]: a head's blocks with consecutive numbers are read as one stream, which
 * the processor fetches ahead at twice the rate of blocks here and there.
 */
#pragma once

#include "ops/cpu/kernels.h"
#include "ops/ops.h"
#include "runtime/aligned_memory.h"

namespace tessera::cpu {

static_assert(kKvBlockSize == kPanelWidth, "a KV block is a panel");

/** Sizes, in elements, of one head's keys and values. */
struct KvPanel {
  size_t step;      // k_step of the products
  size_t head_dim;

  size_t key_steps() const { return (head_dim + step - 1) / step; }
  size_t keys_size() const { return key_steps() * step * kPanelWidth; }
  size_t value_panels() const { return (head_dim + kPanelWidth - 1) / kPanelWidth; }
  /** Elements of one value panel over `tokens`, a multiple of the step. */
  size_t value_panel_size(size_t tokens) const { return tokens * kPanelWidth; }
};

class PagedKv final : public KvCache {
 public:
  /** Elements are of `kernel.b_bytes`: bf16 or fp32. */
  PagedKv(const KvShape& shape, const MatrixKernel& kernel, uint64_t budget_bytes, int min_blocks);

  const MatrixKernel& kernel() const { return *kernel_; }
  const KvPanel& panel() const { return panel_; }
  char* keys(int layer, int block, int head) const {
    return memory_.as<char>() + layer * layer_bytes_ + (static_cast<size_t>(head) * num_blocks + block) * keys_bytes_;
  }
  char* values(int layer, int block, int head) const {
    return memory_.as<char>() + layer * layer_bytes_ + num_kv_heads_ * num_blocks * keys_bytes_ +
           (static_cast<size_t>(head) * num_blocks + block) * values_bytes_;
  }

 private:
  const MatrixKernel* kernel_;
  KvPanel panel_;
  size_t num_kv_heads_;
  size_t keys_bytes_;    // of a head in a block
  size_t values_bytes_;
  size_t layer_bytes_;
  AlignedMemory memory_;
};

}  // namespace tessera::cpu
