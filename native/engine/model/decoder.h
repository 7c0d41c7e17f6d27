/** Owns the language model, Qwen2 or InternLM3: embedding, layers in stages of one device each, head. */
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/decoder_stage.h"
#include "model/placement.h"
#include "model/rope.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace tessera {

class Decoder {
 public:
  /** All outlive the decoder. Takes the cache's memory. */
  Decoder(const DecoderConfig& config, const DecoderWeights& weights, const Placement& placement,
          uint64_t kv_cache_bytes);

  int num_kv_blocks() const;

  /**
   * Runs the batch's new tokens and writes their keys and values. `tiles` is what embedding_rows point into; `ids_from`
   * as in `StepLayout`.
   * @return logits of the tokens in `wanted`, one row each; memory of the first device, valid until the next call
   */
  Rows forward(const StepBatch& batch, const float* tiles, std::span<const int32_t> wanted,
               std::span<const int32_t> ids_from);

 private:
  void run_step(const StepLayout& step, const float* tiles, size_t num_rows, const Rows& logits);

  const DecoderConfig& config_;
  const DecoderWeights& weights_;
  Ops& ops_;
  const Rope rope_;
  std::vector<std::unique_ptr<DecoderStage>> stages_;
  std::vector<float> cos_, sin_;  // of the step at hand
  Scratch x_, last_, normal_, logits_;
};

}  // namespace tessera
