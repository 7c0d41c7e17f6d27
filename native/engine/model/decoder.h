/** Owns the language model, Qwen2 or InternLM3, over a paged cache. */
#pragma once

#include <memory>
#include <span>

#include "model/config.h"
#include "model/rope.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace tessera {

class Decoder {
 public:
  /** `config` and `weights` outlive the decoder. Takes the cache's memory. */
  Decoder(const DecoderConfig& config, const DecoderWeights& weights, Ops& ops, uint64_t kv_cache_bytes);

  int num_kv_blocks() const { return cache_->num_blocks; }

  /**
   * Runs the batch's new tokens and writes their keys and values. `tiles` is what embedding_rows point into.
   * @return logits of the tokens in `wanted`, one row each; device memory valid until the next call
   */
  Rows forward(const StepBatch& batch, const float* tiles, std::span<const int32_t> wanted);

 private:
  void run_layer(int index, const Rows& x, const StepLayout& step);
  void rotations(const StepBatch& batch);

  const DecoderConfig& config_;
  const DecoderWeights& weights_;
  Ops& ops_;
  std::unique_ptr<KvCache> cache_;
  const Rope rope_;
  Buffer cos_, sin_;  // [T][head_dim / 2] of the step at hand
  Scratch x_, normal_, qkv_, attended_, wide_, last_, logits_;
};

}  // namespace tessera
