/** Owns the embeddings of encoded tiles on the device, a slot each; who uses which slot is the caller's business. */
#pragma once

#include <span>
#include <vector>

#include "ops/ops.h"

namespace tessera {

class TileSlots {
 public:
  TileSlots(Ops& ops, int num_slots, int tokens_per_tile, int hidden_size)
      : ops_(ops), tokens_(tokens_per_tile), hidden_(hidden_size),
        buffer_(ops.allocate(static_cast<size_t>(num_slots) * tokens_ * hidden_ * 4)), filled_(num_slots) {}

  /** [slot * tokens_per_tile + row][hidden_size] */
  const float* embeddings() const { return buffer_.f32(); }
  const std::vector<bool>& filled() const { return filled_; }

  /** Copies embeddings [slots * tokens_per_tile][hidden_size] tile by tile. */
  void store(const Rows& embeddings, std::span<const int32_t> slots) {
    for (size_t i = 0; i < slots.size(); i++) {
      const size_t size = tokens_ * hidden_;
      ops_.copy(embeddings.data + i * size, size, buffer_.f32() + slots[i] * size);
      filled_[slots[i]] = true;
    }
  }

 private:
  Ops& ops_;
  size_t tokens_;
  size_t hidden_;
  Buffer buffer_;
  std::vector<bool> filled_;
};

}  // namespace tessera
