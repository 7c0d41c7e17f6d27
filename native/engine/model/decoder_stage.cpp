#include "model/decoder_stage.h"

namespace tessera {

void DecoderStage::run(std::span<const Rows> x, const StepLayout& step) {
  for (size_t layer = 0; layer < shards_[0]->num_layers(); layer++) {
    for (size_t i = 0; i < shards_.size(); i++) shards_[i]->attend(layer, x[i], step);
    group_.all_reduce(x);
    for (size_t i = 0; i < shards_.size(); i++) shards_[i]->feed_forward(layer, x[i]);
    group_.all_reduce(x);
  }
}

}  // namespace tessera
