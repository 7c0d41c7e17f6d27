#include "model/shard.h"

#include <algorithm>
#include <string>

#include "tessera/error.h"

namespace tessera {

namespace {

constexpr int kMaxTensorParallel = 16;

/** Key heads of each device. */
int keys_of(const DecoderConfig& config, int num_devices) { return std::max(1, config.num_kv_heads / num_devices); }

/** Where a device's columns of the MLP begin: at a group where there are such. */
size_t first_inner(const DecoderConfig& config, Shard shard) {
  const size_t group = config.awq_group == 0 ? 1 : config.awq_group;
  return config.intermediate_size / group * shard.index / shard.count * group;
}

/** A device's ids begin where 16 bytes do in a row of logits, in all but the smallest vocabularies. */
size_t first_id(const DecoderConfig& config, Shard shard) {
  const size_t vocab = config.vocab_size;
  if (shard.index == shard.count) return vocab;
  const size_t first = vocab * shard.index / shard.count;
  return vocab / shard.count < 8 ? first : first / 8 * 8;
}

}  // namespace

void check_tensor_parallel(const DecoderConfig& config, int num_devices) {
  const std::string action = "open the engine";
  const std::string devices = std::to_string(num_devices);
  if (num_devices < 1 || num_devices > kMaxTensorParallel) {
    refuse(action, "tensorParallel is " + devices, "1 to " + std::to_string(kMaxTensorParallel));
  }
  if (config.num_heads % num_devices != 0) {
    refuse(action, "tensorParallel is " + devices + " and the decoder has " + std::to_string(config.num_heads) +
           " attention heads", "a number that divides them");
  }
  if (config.num_kv_heads % num_devices != 0 && num_devices % config.num_kv_heads != 0) {
    refuse(action, "tensorParallel is " + devices + " and the decoder has " + std::to_string(config.num_kv_heads) +
           " key heads", "a number that divides them, or a multiple of them");
  }
  if (config.awq_group == 0 && config.intermediate_size % num_devices != 0) {
    refuse(action, "tensorParallel is " + devices + " and the decoder's MLP has " +
           std::to_string(config.intermediate_size) + " columns", "a number that divides them");
  }
  if (config.vocab_size < num_devices) {
    refuse(action, "tensorParallel is " + devices + " and the vocabulary has " + std::to_string(config.vocab_size) +
           " tokens", "at most as many devices");
  }
  if (config.awq_group == 0 || num_devices == 1) return;
  // Rows lie side by side in a word of codes and are cut anywhere; columns of one group have a scale and a zero together.
  const std::string groups = "groups of " + std::to_string(config.awq_group) + ", which have a scale together (awq)";
  const int columns = config.num_heads / num_devices * config.head_dim;
  if (columns % config.awq_group != 0) {
    refuse(action, "tensorParallel is " + devices + ", and the heads of a device have " + std::to_string(columns) +
           " columns of attention's output projection, which are no whole " + groups,
           "a number of devices whose heads are whole groups, or layers split over devices");
  }
  if (config.intermediate_size / config.awq_group < num_devices) {
    refuse(action, "tensorParallel is " + devices + " and the MLP's " + std::to_string(config.intermediate_size) +
           " columns are fewer " + groups, "at most as many devices");
  }
}

ShardRanges ranges_of(const DecoderConfig& config, Shard shard) {
  const size_t dim = config.head_dim;
  const size_t queries = config.num_heads / shard.count * dim;
  // Of devices that share a key head each computes and keeps it.
  const size_t first_key = static_cast<size_t>(config.num_kv_heads) * shard.index / shard.count;
  const size_t inner = first_inner(config, shard);
  const size_t first = first_id(config, shard);
  return {
      .queries = {queries * shard.index, queries},
      .keys = {first_key * dim, keys_of(config, shard.count) * dim},
      .inner = {inner, first_inner(config, {shard.index + 1, shard.count}) - inner},
      .vocabulary = {first, first_id(config, {shard.index + 1, shard.count}) - first},
  };
}

DecoderConfig share_of(const DecoderConfig& config, Shard shard) {
  DecoderConfig share = config;
  share.num_heads /= shard.count;
  share.num_kv_heads = keys_of(config, shard.count);
  share.intermediate_size = static_cast<int>(ranges_of(config, shard).inner.count);
  return share;
}

}  // namespace tessera
