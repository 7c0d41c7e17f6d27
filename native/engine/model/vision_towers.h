/** Owns the vision towers of an engine, one on each device that has one: each encodes its share of the tiles. */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/placement.h"
#include "model/tile_slots.h"
#include "model/vision_tower.h"

namespace tessera {

class VisionTowers {
 public:
  /** `weights`, one for each of the placement's towers. All outlive the towers. */
  VisionTowers(const ModelConfig& config, std::span<const TowerWeights> weights, const Placement& placement);

  /** Tiles that a device encodes together, at most. */
  size_t tiles_per_group() const;
  /** Takes all memory that encoding needs. */
  void reserve();
  /** Encodes each small number of tiles, of nothing and for nobody. */
  void rehearse();
  /** Embeddings of u8 RGB tiles, each to its slot. */
  void encode(std::span<const uint8_t> pixels, std::span<const int32_t> slots, TileSlots& target);

 private:
  const ModelConfig& config_;
  std::vector<VisionTower> towers_;
};

}  // namespace tessera
