#include "model/vision_towers.h"

#include <algorithm>

namespace tessera {

namespace {
/** Patches a device encodes together: they fill the kernels and bound the memory of activations. */
constexpr size_t kRowsPerGroup = 4096;
/** Numbers of tiles that are rehearsed; small tiles make large groups. */
constexpr size_t kRehearsedTiles = 8;
}  // namespace

VisionTowers::VisionTowers(const ModelConfig& config, std::span<const TowerWeights> weights, const Placement& placement)
    : config_(config) {
  for (size_t i = 0; i < weights.size(); i++) {
    towers_.emplace_back(config, weights[i], placement.device(static_cast<int>(i)));
  }
}

size_t VisionTowers::tiles_per_group() const {
  return std::max<size_t>(1, kRowsPerGroup / (static_cast<size_t>(config_.grid()) * config_.grid()));
}

void VisionTowers::reserve() {
  for (VisionTower& tower : towers_) tower.reserve(tiles_per_group());
}

void VisionTowers::rehearse() {
  const size_t tile_bytes = static_cast<size_t>(config_.tile_size) * config_.tile_size * 3;
  for (size_t count = 1; count <= std::min(tiles_per_group(), kRehearsedTiles); count++) {
    for (VisionTower& tower : towers_) (void)tower.encode(std::vector<uint8_t>(count * tile_bytes));
  }
}

void VisionTowers::encode(std::span<const uint8_t> pixels, std::span<const int32_t> slots, TileSlots& target) {
  const size_t tile_bytes = pixels.size() / slots.size();
  const size_t round = towers_.size() * tiles_per_group();
  for (size_t first = 0; first < slots.size(); first += round) {
    const size_t count = std::min(round, slots.size() - first);
    const auto share = [&](size_t tower) { return first + count * tower / towers_.size(); };
    // All are given their work before anybody waits for it.
    std::vector<Rows> embeddings(towers_.size());
    for (size_t i = 0; i < towers_.size(); i++) {
      const size_t begin = share(i), tiles = share(i + 1) - begin;
      if (tiles > 0) embeddings[i] = towers_[i].encode(pixels.subspan(begin * tile_bytes, tiles * tile_bytes));
    }
    for (size_t i = 0; i < towers_.size(); i++) {
      target.store(embeddings[i], towers_[i].ops(), slots.subspan(share(i), share(i + 1) - share(i)));
    }
  }
}

}  // namespace tessera
