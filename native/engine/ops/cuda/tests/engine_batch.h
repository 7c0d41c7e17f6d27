/** Owns what tests of whole engines share: batches of new tokens, and two tiles that are encoded. */
#pragma once

#include <vector>

#include "tests/tiny_model.h"

namespace tessera::tests {

/** New tokens of some sequences, each with blocks of its own, the last first. */
struct Batch {
  /** Blocks of each sequence. */
  int num_blocks = 4;
  /** Of every sequence; 0: as many tokens as there are by then. */
  int prompt_length = 0;
  std::vector<int32_t> token_ids, positions, embedding_rows, query_starts = {0}, block_tables, prompt_lengths, top_k;
  std::vector<uint8_t> sample;
  std::vector<float> temperature, top_p;
  std::vector<uint64_t> seed;

  void add(int sequence, int first, int count, int tile_row = -1) {
    for (int i = 0; i < count; i++) {
      token_ids.push_back((7 * sequence + 3 * (first + i)) % 61);
      positions.push_back(first + i);
      embedding_rows.push_back(first + i == 5 ? tile_row : -1);
    }
    query_starts.push_back(static_cast<int32_t>(token_ids.size()));
    for (int block = num_blocks - 1; block >= 0; block--) block_tables.push_back(num_blocks * sequence + block);
    prompt_lengths.push_back(prompt_length > 0 ? prompt_length : first + count);
    sample.push_back(1);
    temperature.push_back(0);
    top_p.push_back(1);
    top_k.push_back(0);
    seed.push_back(sequence);
  }
  StepBatch view() const {
    StepBatch out;
    out.token_ids = token_ids, out.positions = positions, out.embedding_rows = embedding_rows;
    out.query_starts = query_starts, out.block_tables = block_tables, out.max_blocks = num_blocks;
    out.prompt_lengths = prompt_lengths, out.sample = sample, out.temperature = temperature;
    out.top_p = top_p, out.top_k = top_k, out.seed = seed;
    return out;
  }
};

/** Into slots 1 and 0. */
inline void encode(Engine& engine) {
  const EngineInfo& info = engine.info();
  std::vector<uint8_t> pixels(2 * info.tile_size * info.tile_size * 3);
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = static_cast<uint8_t>(i * 41 % 256);
  engine.encode_tiles(pixels, std::vector<int32_t>{1, 0});
}

}  // namespace tessera::tests
