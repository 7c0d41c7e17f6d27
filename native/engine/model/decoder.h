/** Owns the language model, Qwen2 or InternLM3: embedding, layers in stages, head. */
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/decoder_stage.h"
#include "model/placement.h"
#include "model/rope.h"
#include "model/scratch.h"
#include "model/shard.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace tessera {

class Decoder {
 public:
  /**
   * `weights`, one for each shard of the placement. All outlive the decoder. With layers split over devices that work at
   * once, steps of twice `micro_batch_rows` and more go through them in two parts; 0: none.
   */
  Decoder(const DecoderConfig& config, std::span<const DecoderWeights> weights, const Placement& placement,
          int micro_batch_rows);

  /** Takes all memory that steps up to these limits need. */
  void reserve(const WorkLimits& limits);
  /**
   * Takes the caches' memory, once, before anything runs: `bytes` in all, or where `share` is not 0 that share of what
   * is free on each device.
   */
  void open_caches(uint64_t bytes, double share);
  int num_kv_blocks() const;
  uint64_t kv_bytes() const;

  /**
   * Runs the batch's new tokens and writes their keys and values. `tiles` is what embedding_rows point into; `ids_from`
   * as in `StepLayout`.
   * @return logits of the tokens in `wanted`, one row each; memory of the first device, valid until the next call
   */
  Rows forward(const StepBatch& batch, const float* tiles, std::span<const int32_t> wanted,
               std::span<const int32_t> ids_from);

 private:
  /** A device that holds a part of the vocabulary, of one the whole. */
  struct Vocabulary {
    Ops& ops;
    const DecoderWeights& weights;
    Range ids;
    Scratch x, last, normal, logits;
  };

  /** Of all stages. */
  std::vector<DecoderShard*> shards() const;
  /** Says it to every device. @return rows to compute */
  size_t begin_step(const StepLayout& step);
  /** Leaves each part's logits [rows of `logits`][its ids] in `parts`. */
  void run_step(const StepLayout& step, const float* tiles, size_t num_rows, std::span<const Rows> parts);
  void embed(const StepLayout& step, const float* tiles, std::span<const Rows> x);
  /** Through all stages in place, or else to memory of the first device, which is returned. */
  Rows run_stages(const Rows& x, const StepLayout& step);
  void multiply_head(std::span<const Rows> x, const StepLayout& step, std::span<const Rows> parts);

  const DecoderConfig& config_;
  Ops& ops_;  // the first device
  DeviceGroup& group_;
  const Rope rope_;
  std::vector<std::unique_ptr<Vocabulary>> vocabulary_;
  std::vector<std::unique_ptr<DecoderStage>> stages_;
  const size_t micro_batch_rows_;
  std::vector<float> cos_, sin_;  // of the step at hand
  Scratch logits_;
};

}  // namespace tessera
