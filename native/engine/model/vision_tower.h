/** Owns the way from pixels to embeddings: InternViT, pixel shuffle, projector. */
#pragma once

#include <cstdint>
#include <span>

#include "model/config.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace tessera {

class VisionTower {
 public:
  /** All three outlive the tower. */
  VisionTower(const ModelConfig& config, const TowerWeights& weights, Ops& ops);

  /** Takes all memory that so many tiles at once need. */
  void reserve(size_t num_tiles);
  /** Embeddings [tiles * tokens_per_tile][decoder hidden] of u8 RGB tiles; device memory valid until the next call. */
  Rows encode(std::span<const uint8_t> pixels);
  Ops& ops() const { return ops_; }

 private:
  void run_layer(const VisionLayer& layer, const Rows& x);
  void norm(const Norm& weights, const Rows& x, const Rows& y);
  Rows project(const Rows& x);

  const ModelConfig& config_;
  const TowerWeights& weights_;
  Ops& ops_;
  Scratch x_, normal_, wide_, attended_;
};

}  // namespace tessera
