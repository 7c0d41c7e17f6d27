/**
 * Owns how the decoder is cut over devices that compute each layer together (tensor parallel, as Megatron-LM has it):
 * heads and MLP columns side by side, the vocabulary for embedding and head. As in vLLM, query heads and MLP columns must
 * divide; key heads must too, or else the devices be a multiple of them, in which case neighbours hold the same key head.
 * Columns of AWQ checkpoints have their scales in groups, which are not cut: of the MLP a device has some groups, one more or less
 * than another where they do not divide.
 */
#pragma once

#include <cstddef>

#include "model/config.h"

namespace tessera {

/** Which part a device has of what `count` devices hold together. */
struct Shard {
  int index = 0;
  int count = 1;

  bool is_first() const { return index == 0; }
  bool is_last() const { return index == count - 1; }
};

struct Range {
  size_t first = 0;
  size_t count = 0;
};

/** What a device holds of the decoder: rows of the projections that read the residual stream, columns of those that write it. */
struct ShardRanges {
  Range queries;     // rows of q, columns of the output projection
  Range keys;        // rows of k, and of v
  Range inner;       // rows of gate and of up, columns of down
  Range vocabulary;  // rows of embedding and head
};

/** Refuses by name what does not divide. */
void check_tensor_parallel(const DecoderConfig& config, int num_devices);

ShardRanges ranges_of(const DecoderConfig& config, Shard shard);

/** The decoder as one device sees it: its heads and its part of the MLP, the rest as it is. */
DecoderConfig share_of(const DecoderConfig& config, Shard shard);

}  // namespace tessera
