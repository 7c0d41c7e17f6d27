/** Owns reading JavaScript arguments into the engine's own types. Typed arrays are copied: JavaScript keeps its own. */
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/engine.h"

namespace tessera::addon {

EngineOptions read_options(const Napi::Value& value);

/** A step's arrays, copied, so that nothing JavaScript does while the step runs can reach them. */
struct OwnedBatch {
  std::vector<int32_t> token_ids, positions, embedding_rows, query_starts, block_tables, prompt_lengths, top_k;
  std::vector<int32_t> num_top, seen_starts, seen_ids, seen_counts, bias_starts, bias_ids, ids_from;
  std::vector<uint8_t> sample;
  std::vector<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty, biases;
  std::vector<uint64_t> seed;
  int max_blocks = 0;

  StepBatch view() const;
};

OwnedBatch read_batch(const Napi::Value& value);

/** Arguments of `encodeTiles`, copied. */
std::vector<uint8_t> read_pixels(const Napi::Value& value);
std::vector<int32_t> read_slots(const char* action, const Napi::Value& value);

Napi::Object info_object(Napi::Env env, const EngineInfo& info);

}  // namespace tessera::addon
