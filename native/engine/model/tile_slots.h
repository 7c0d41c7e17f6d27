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

  /** Copies embeddings [slots * tokens_per_tile][hidden_size], which are on `from`, tile by tile. */
  void store(const Rows& embeddings, Ops& from, std::span<const int32_t> slots) {
    const size_t size = tokens_ * hidden_;
    for (size_t i = 0; i < slots.size(); i++) {
      float* source = embeddings.data + i * size;
      float* target = buffer_.f32() + slots[i] * size;
      if (&from == &ops_) {
        ops_.copy(source, size, target);
      } else {
        ops_.receive({source, tokens_, hidden_}, from, {target, tokens_, hidden_});
      }
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
