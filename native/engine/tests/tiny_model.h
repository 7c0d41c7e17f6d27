/** Owns a complete checkpoint of a few thousand random weights, for tests that need an engine. */
#pragma once

#include <memory>
#include <string>

#include "tessera/engine.h"
#include "tests/folder.h"

namespace tessera::tests {

/** Sizes a test may vary; the rest is fixed: 8 px tiles of 2 x 2 patches, 1 token a tile, 6 heads over 3 key heads. */
struct TinyModel {
  int num_layers = 2;
  int trained_length = 96;
  int head_dim = 4;
  uint64_t seed = 1;
  /** Widths in 64s where heads are of 32 values, so that all of it can be held in few bits. */
  bool in_blocks = false;
  int vocab = 61;
};

/** Writes config.json and model.safetensors, in the vendor's layout and fp32. */
void write_tiny_model(const Folder& folder, const TinyModel& model = {});

/** Options for it: fp32 on the CPU, two tile slots, `num_threads`. */
EngineOptions tiny_options(const Folder& folder, int num_threads = 1);

}  // namespace tessera::tests
