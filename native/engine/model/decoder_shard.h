/** Owns what one device has of consecutive decoder layers: its heads, its part of the MLP, their cache, scratch memory. */
#pragma once

#include <memory>
#include <span>

#include "model/config.h"
#include "model/scratch.h"
#include "model/shard.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace tessera {

class DecoderShard {
 public:
  /** `share` is the decoder as this device sees it; `layers`, whose weights are on `ops`, and `ops` outlive the shard. */
  DecoderShard(const DecoderConfig& share, Shard shard, std::span<const DecoderLayer> layers, Ops& ops);

  /** Takes all memory that steps of so many rows need; `takes`: they come from another device. */
  void reserve(size_t rows, bool takes);
  /** Takes the cache's memory; before anything runs. */
  void open_cache(uint64_t bytes);

  size_t num_layers() const { return layers_.size(); }
  const KvCache& cache() const { return *cache_; }
  Ops& ops() const { return ops_; }

  /** Room for a residual stream that comes from another device; valid until the next call. */
  Rows room(size_t rows, size_t cols) { return taken_.rows(ops_, rows, cols); }
  /**
   * The halves of a layer, in place. Behind each, x is the residual stream where one device has the whole layer. Of
   * several it is a part, and their sum the residual stream: the first device's holds what came in and all biases.
   */
  void attend(size_t layer, const Rows& x, const StepLayout& step);
  void feed_forward(size_t layer, const Rows& x);

 private:
  /** x = x w^T + what goes through, of the first device alone. */
  void add_product(const Rows& from, const Linear& linear, const Rows& x);

  const DecoderConfig share_;
  const Shard shard_;
  const std::span<const DecoderLayer> layers_;
  Ops& ops_;
  std::unique_ptr<KvCache> cache_;
  Scratch taken_, normal_, qkv_, attended_, wide_;
};

}  // namespace tessera
