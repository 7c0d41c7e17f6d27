#include "model/decoder_stage.h"

#include <algorithm>

namespace tessera {

int DecoderStage::num_kv_blocks() const {
  int least = shards_[0]->num_kv_blocks();
  for (const auto& shard : shards_) least = std::min(least, shard->num_kv_blocks());
  return least;
}

void DecoderStage::run(std::span<const Rows> x, const StepLayout& step) {
  for (size_t layer = 0; layer < shards_[0]->num_layers(); layer++) {
    for (size_t i = 0; i < shards_.size(); i++) shards_[i]->attend(layer, x[i], step);
    group_.all_reduce(x);
    for (size_t i = 0; i < shards_.size(); i++) shards_[i]->feed_forward(layer, x[i]);
    group_.all_reduce(x);
  }
}

}  // namespace tessera
