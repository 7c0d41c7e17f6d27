/** Owns a model's weights on the device, and finding each in a checkpoint of either layout. */
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/placement.h"
#include "model/safetensors.h"
#include "ops/ops.h"

namespace tessera {

struct Linear {
  std::unique_ptr<Matrix> weight;
  Buffer bias;  // empty where there is none
};

struct Norm {
  Buffer weight;
  Buffer bias;  // empty for RMS norm
};

struct VisionLayer {
  Norm norm1;
  Linear qkv;
  Norm q_norm;  // empty without qk_norm
  Norm k_norm;
  Linear proj;
  Buffer scale1;
  Norm norm2;
  Linear fc1;
  Linear fc2;
  Buffer scale2;
};

struct VisionWeights {
  WeightType type = WeightType::kBase;  // of the layers' matrices
  Buffer class_embedding;  // [hidden]
  Buffer positions;        // [1 + grid^2][hidden], already at the tile's grid
  Linear patch;
  std::vector<VisionLayer> layers;
};

struct ProjectorWeights {
  Norm norm;
  Linear linear1;
  Linear linear2;
};

struct DecoderLayer {
  Norm norm1;
  Linear qkv;
  Linear out;
  Norm norm2;
  Linear gate_up;
  Linear down;
};

/** What a device that has a shard of the decoder holds of it; with layers split over devices, the layers are on theirs. */
struct DecoderWeights {
  std::unique_ptr<Matrix> embedding;
  std::vector<DecoderLayer> layers;
  Norm norm;
  std::unique_ptr<Matrix> head;  // null: the embedding is the head
};

/** The way from pixels to embeddings, whole on one device. */
struct TowerWeights {
  VisionWeights vision;
  ProjectorWeights projector;
};

struct ModelWeights {
  std::vector<TowerWeights> towers;     // of the placement's devices with one
  std::vector<DecoderWeights> decoder;  // of its shards
  uint64_t bytes = 0;
  std::string cache_note;  // `EngineInfo::weight_cache`
};

/** What the large matrices become; embeddings, patches and projector are always of the base type. */
struct WeightPlan {
  WeightType vision = WeightType::kBase;
  WeightType decoder = WeightType::kBase;
  WeightType head = WeightType::kBase;
  std::string note;  // where a part is held otherwise than asked, why; else empty
};

/** The 6B tower, which alone normalises q and k, is never below 8 bits: in 4 it is known to lose what it sees. */
WeightPlan plan_weights(const ModelConfig& config, Dtype dtype, bool int8_head = false);

/** Checks every tensor's name, shape and type first, and only then takes memory: from the weight cache, or by packing. */
ModelWeights load_weights(const ModelConfig& config, const Checkpoint& checkpoint, const Placement& placement,
                          const WeightPlan& plan, const EngineOptions& options);

/**
 * A position embedding [1 + from^2][cols] resampled to [1 + to^2][cols]: bicubic (a = -0.75), pixel centres, edges
 * repeated, as PyTorch's `interpolate(mode="bicubic", align_corners=False)`. The class row stays.
 */
std::vector<float> interpolate_positions(const std::vector<float>& positions, size_t cols, int from, int to);

}  // namespace tessera
