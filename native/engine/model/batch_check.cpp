#include "model/batch_check.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ops/backend.h"

namespace tessera {

namespace {

constexpr int kMaxDevices = 64;

std::string text(int64_t value) { return std::to_string(value); }

[[noreturn]] void refuse_step(const std::string& what, const std::string& expected) { refuse("step", what, expected); }

void check_length(const char* name, size_t length, size_t expected) {
  if (length != expected) refuse_step(std::string(name) + " has " + text(length) + " entries", text(expected));
}

/** Entries of a list that belong to sequences by `starts`. */
void check_ragged(const char* name, std::span<const int32_t> starts, size_t length, size_t num_sequences) {
  if (starts.empty()) return check_length(name, length, 0);
  const std::string of = std::string(name) + "'s starts";
  if (starts.size() != num_sequences + 1) refuse_step(of + " have " + text(starts.size()) + " entries",
                                                      text(num_sequences + 1) + " or none");
  if (starts[0] != 0) refuse_step(of + " begin with " + text(starts[0]), "0");
  for (size_t s = 0; s < num_sequences; s++) {
    if (starts[s + 1] < starts[s]) refuse_step(of + " fall at sequence " + text(s), "none before the last");
  }
  check_length(name, length, starts[num_sequences]);
}

/** Memory is taken for so many entries of each sequence. */
void check_most(const std::string& of, std::span<const int32_t> starts, int most) {
  for (size_t s = 0; s + 1 < starts.size(); s++) {
    if (starts[s + 1] - starts[s] <= most) continue;
    refuse_step(of + " holds " + text(starts[s + 1] - starts[s]) + " of sequence " + text(s),
                "at most " + text(most) + ", for which the engine was opened");
  }
}

void check_optional_lengths(const StepBatch& batch, size_t num_sequences) {
  const auto check = [&](const char* name, size_t length) {
    if (length != 0) check_length(name, length, num_sequences);
  };
  check("minP", batch.min_p.size());
  check("repetitionPenalty", batch.repetition_penalty.size());
  check("presencePenalty", batch.presence_penalty.size());
  check("frequencyPenalty", batch.frequency_penalty.size());
  check("numTop", batch.num_top.size());
  check_ragged("seenIds", batch.seen_starts, batch.seen_ids.size(), num_sequences);
  check_length("seenCounts", batch.seen_counts.size(), batch.seen_ids.size());
  check_ragged("biasIds", batch.bias_starts, batch.bias_ids.size(), num_sequences);
  check_length("biases", batch.biases.size(), batch.bias_ids.size());
}

void check_ids(const EngineInfo& info, const char* name, std::span<const int32_t> ids) {
  for (int32_t id : ids) {
    if (id < 0 || id >= info.vocab_size) {
      refuse_step(std::string(name) + " holds " + text(id), "ids below " + text(info.vocab_size));
    }
  }
}

/** What the optional fields hold, of all sequences. */
void check_optional_values(const EngineInfo& info, const StepBatch& batch) {
  for (float p : batch.min_p) {
    if (!(p >= 0 && p <= 1)) refuse_step("minP holds " + std::to_string(p), "0 to 1");
  }
  for (float p : batch.repetition_penalty) {
    if (!(p > 0) || !std::isfinite(p)) refuse_step("repetitionPenalty holds " + std::to_string(p), "above 0");
  }
  for (const auto penalties : {batch.presence_penalty, batch.frequency_penalty}) {
    for (float p : penalties) {
      if (!std::isfinite(p)) refuse_step("a penalty is " + std::to_string(p), "a number");
    }
  }
  for (int32_t n : batch.num_top) {
    if (n < 0 || n > kMaxTop) refuse_step("numTop holds " + text(n), "0 to " + text(kMaxTop));
  }
  check_ids(info, "seenIds", batch.seen_ids);
  for (int32_t count : batch.seen_counts) {
    if (count < 0) refuse_step("seenCounts holds " + text(count), "0 or above");
  }
  check_ids(info, "biasIds", batch.bias_ids);
  for (float bias : batch.biases) {
    if (std::isnan(bias) || bias == INFINITY) refuse_step("biases hold " + std::to_string(bias), "numbers, or -infinity");
  }
}

void check_lengths(const EngineInfo& info, const StepBatch& batch) {
  if (batch.query_starts.size() < 2) refuse_step("no sequences", "at least one");
  const size_t num_sequences = batch.query_starts.size() - 1;
  const size_t num_tokens = batch.token_ids.size();
  check_length("positions", batch.positions.size(), num_tokens);
  check_length("embeddingRows", batch.embedding_rows.size(), num_tokens);
  check_length("promptLengths", batch.prompt_lengths.size(), num_sequences);
  check_length("sample", batch.sample.size(), num_sequences);
  check_length("temperature", batch.temperature.size(), num_sequences);
  check_length("topP", batch.top_p.size(), num_sequences);
  check_length("topK", batch.top_k.size(), num_sequences);
  check_length("seed", batch.seed.size(), num_sequences);
  if (batch.max_blocks < 1) refuse_step("maxBlocks is " + text(batch.max_blocks), "at least 1");
  check_length("blockTables", batch.block_tables.size(), num_sequences * batch.max_blocks);
  if (batch.query_starts[0] != 0) refuse_step("queryStarts[0] is " + text(batch.query_starts[0]), "0");
  for (size_t s = 0; s < num_sequences; s++) {
    if (batch.query_starts[s + 1] <= batch.query_starts[s]) {
      refuse_step("queryStarts does not grow at sequence " + text(s), "at least one token a sequence");
    }
  }
  check_length("tokenIds", num_tokens, batch.query_starts[num_sequences]);
  const auto check_limit = [](const char* what, size_t count, int most) {
    if (most > 0 && count > static_cast<size_t>(most)) {
      refuse_step(text(count) + " " + what, "at most " + text(most) + ", for which the engine was opened");
    }
  };
  check_limit("tokens", num_tokens, info.max_step_tokens);
  check_limit("sequences", num_sequences, info.max_step_sequences);
  check_optional_lengths(batch, num_sequences);
  if (info.max_step_sequences == 0) return;
  check_most("seenIds", batch.seen_starts, std::min(info.vocab_size, info.context_length));
  check_most("biasIds", batch.bias_starts, std::min(info.vocab_size, kMaxBiases));
}

bool is_fed(const StepBatch& batch, size_t s) { return !batch.ids_from.empty() && batch.ids_from[s] >= 0; }

/** `drawn`: of each sequence of the step before the row of its draw, or -1. */
void check_fed(const StepBatch& batch, std::span<const int32_t> drawn) {
  if (batch.ids_from.empty()) return;
  check_length("idsFrom", batch.ids_from.size(), batch.num_sequences());
  for (size_t s = 0; s < batch.num_sequences(); s++) {
    const int32_t from = batch.ids_from[s];
    if (from == -1) continue;
    if (from < -1 || static_cast<size_t>(from) >= drawn.size() || drawn[from] < 0) {
      refuse_step("idsFrom of sequence " + text(s) + " is " + text(from), "-1 or one that the step before samples");
    }
    if (batch.embedding_rows[batch.query_starts[s + 1] - 1] != -1) {
      refuse_step("idsFrom of sequence " + text(s) + " is of a tile's row", "of text");
    }
  }
}

/** `is_fed`: its id comes from the step before. */
void check_token(const EngineInfo& info, const StepBatch& batch, size_t t, const std::vector<bool>& slot_filled,
                 bool is_fed) {
  const int32_t row = batch.embedding_rows[t];
  const int64_t num_rows = static_cast<int64_t>(info.num_tile_slots) * info.tokens_per_tile;
  const std::string at = " at token " + text(t);
  if (row < -1 || row >= num_rows) {
    refuse_step("embedding row " + text(row) + at, "-1 or one below " + text(num_rows));
  }
  if (row >= 0 && !slot_filled[row / info.tokens_per_tile]) {
    refuse_step("embedding row " + text(row) + at + " is of an empty slot", "a slot that a tile was encoded to");
  }
  const int32_t id = batch.token_ids[t];
  if (row == -1 && !is_fed && (id < 0 || id >= info.vocab_size)) {
    refuse_step("token id " + text(id) + at, "one below " + text(info.vocab_size));
  }
  const int32_t position = batch.positions[t];
  if (position < 0 || position >= info.context_length) {
    refuse_step("position " + text(position) + at, "one below " + text(info.context_length));
  }
}

void check_sampling(const StepBatch& batch, size_t s) {
  const std::string of = " of sequence " + text(s) + " is ";
  if (batch.sample[s] > 1) refuse_step("sample" + of + text(batch.sample[s]), "0 or 1");
  if (!std::isfinite(batch.temperature[s]) || batch.temperature[s] < 0) {
    refuse_step("temperature" + of + std::to_string(batch.temperature[s]), "0 or above");
  }
  if (!(batch.top_p[s] > 0 && batch.top_p[s] <= 1)) {
    refuse_step("topP" + of + std::to_string(batch.top_p[s]), "in (0, 1]");
  }
  if (batch.top_k[s] < 0) refuse_step("topK" + of + text(batch.top_k[s]), "0 or above");
}

/** Which sequence uses or writes a block in this step. */
struct BlockUse {
  int32_t seen_by = -1;    // the last sequence whose table was checked
  int32_t written_by = -1;
  int32_t first_written = 0;  // slot inside the block
};

void check_sequence(const EngineInfo& info, const StepBatch& batch, size_t s, const std::vector<bool>& slot_filled,
                    std::vector<BlockUse>& blocks) {
  const int32_t start = batch.query_starts[s];
  const int32_t end = batch.query_starts[s + 1];
  for (int32_t t = start; t < end; t++) {
    check_token(info, batch, t, slot_filled, t == end - 1 && is_fed(batch, s));
    if (t > start && batch.positions[t] != batch.positions[t - 1] + 1) {
      refuse_step("position " + text(batch.positions[t]) + " after " + text(batch.positions[t - 1]) + " in sequence " +
                  text(s), "one more");
    }
  }
  check_sampling(batch, s);
  if (batch.prompt_lengths[s] < 1 || batch.prompt_lengths[s] > info.context_length) {
    refuse_step("promptLengths of sequence " + text(s) + " is " + text(batch.prompt_lengths[s]),
                "1 to " + text(info.context_length));
  }
  const int32_t num_used = batch.positions[end - 1] / info.kv_block_size + 1;
  if (num_used > batch.max_blocks) {
    refuse_step("sequence " + text(s) + " needs " + text(num_used) + " blocks", "at most maxBlocks");
  }
  const int32_t* table = batch.block_tables.data() + s * batch.max_blocks;
  for (int32_t i = 0; i < batch.max_blocks; i++) {
    const int32_t least = i < num_used ? 0 : -1;
    if (table[i] < least || table[i] >= info.num_kv_blocks) {
      refuse_step("block " + text(table[i]) + " at " + text(i) + " of sequence " + text(s),
                  "in [" + text(least) + ", " + text(info.num_kv_blocks) + ")");
    }
    if (i >= num_used) continue;
    BlockUse& use = blocks[table[i]];
    if (use.seen_by == static_cast<int32_t>(s)) {
      refuse_step("block " + text(table[i]) + " twice in sequence " + text(s), "distinct blocks");
    }
    use.seen_by = static_cast<int32_t>(s);
    const int32_t first_written = batch.positions[start] - i * info.kv_block_size;
    if (first_written >= info.kv_block_size) continue;
    if (use.written_by >= 0) {
      refuse_step("sequences " + text(use.written_by) + " and " + text(s) + " write block " + text(table[i]), "one");
    }
    use.written_by = static_cast<int32_t>(s);
    use.first_written = first_written < 0 ? 0 : first_written;
  }
}

/** Nobody may read what another sequence writes in the same step. */
void check_sharing(const EngineInfo& info, const StepBatch& batch, size_t s, const std::vector<BlockUse>& blocks) {
  const int32_t num_keys = batch.positions[batch.query_starts[s + 1] - 1] + 1;
  for (int32_t i = 0; i * info.kv_block_size < num_keys; i++) {
    const int32_t block = batch.block_tables[s * batch.max_blocks + i];
    const BlockUse& use = blocks[block];
    if (use.written_by < 0 || use.written_by == static_cast<int32_t>(s)) continue;
    if (num_keys - i * info.kv_block_size > use.first_written) {
      refuse_step("sequence " + text(s) + " reads block " + text(block) + " that sequence " + text(use.written_by) +
                  " writes", "it written in an earlier step");
    }
  }
}

}  // namespace

void check_options(const EngineOptions& options) {
  if (options.device == Device::kCuda) {
    if (cuda_backend() == nullptr) refuse("open the engine", "device is cuda", "cpu: this build has no CUDA");
    cuda_backend()->check();
  } else if (options.dtype == Dtype::kFp8) {
    refuse("open the engine", "dtype is fp8 on device cpu, which has no products of it", "int8, or device cuda");
  }
  if (options.num_threads < 0 || options.num_threads > 1024) {
    refuse("open the engine", "numThreads is " + text(options.num_threads), "0 to 1024");
  }
  if (!(options.kv_memory_share >= 0 && options.kv_memory_share <= 1)) {
    refuse("open the engine", "kvMemoryShare is " + std::to_string(options.kv_memory_share), "0 to 1");
  }
  if (options.max_step_tokens < 0 || options.max_step_sequences < 0 ||
      (options.max_step_tokens > 0) != (options.max_step_sequences > 0) ||
      options.max_step_sequences > options.max_step_tokens) {
    refuse("open the engine",
           "maxStepTokens is " + text(options.max_step_tokens) + " and maxStepSequences " + text(options.max_step_sequences),
           "both 0, or a token for each sequence");
  }
  if (options.num_tile_slots < 1 || options.num_tile_slots > 1 << 20) {
    refuse("open the engine", "numTileSlots is " + text(options.num_tile_slots), "1 to 1048576");
  }
  if (options.vision_devices < 0 || options.vision_devices > kMaxDevices) {
    refuse("open the engine", "visionDevices is " + text(options.vision_devices), "0 to " + text(kMaxDevices));
  }
  const bool is_split = std::any_of(options.layer_devices.begin(), options.layer_devices.end(), [](int d) { return d != 0; });
  if (options.tensor_parallel > 1 && is_split) {
    refuse("open the engine", "tensorParallel is " + text(options.tensor_parallel) + " and layers are split over devices",
           "one of the two");
  }
}

void check_layer_devices(std::span<const int> layer_devices, int num_layers) {
  if (layer_devices.empty()) return;
  if (layer_devices.size() != static_cast<size_t>(num_layers)) {
    refuse("open the engine", "layerDevices has " + text(layer_devices.size()) + " entries",
           text(num_layers) + ", one for each layer");
  }
  for (int device : layer_devices) {
    if (device < 0 || device >= kMaxDevices) {
      refuse("open the engine", "layerDevices names device " + text(device), "0 to " + text(kMaxDevices - 1));
    }
  }
}

void check_tiles(const EngineInfo& info, std::span<const uint8_t> pixels, std::span<const int32_t> slots) {
  const size_t tile_bytes = static_cast<size_t>(info.tile_size) * info.tile_size * 3;
  if (slots.empty()) refuse("encode tiles", "no slots", "at least one");
  if (pixels.size() != slots.size() * tile_bytes) {
    refuse("encode tiles", text(pixels.size()) + " bytes of pixels",
           text(slots.size()) + " x " + text(tile_bytes));
  }
  std::vector<bool> seen(info.num_tile_slots);
  for (int32_t slot : slots) {
    if (slot < 0 || slot >= info.num_tile_slots) {
      refuse("encode tiles", "slot " + text(slot), "one below " + text(info.num_tile_slots));
    }
    if (seen[slot]) refuse("encode tiles", "slot " + text(slot) + " twice", "distinct slots");
    seen[slot] = true;
  }
}

void check_filled(const EngineInfo& info, std::span<const int32_t> slots, const std::vector<bool>& slot_filled) {
  for (int32_t slot : slots) {
    if (slot < 0 || slot >= info.num_tile_slots || !slot_filled[slot]) {
      refuse("read tile embeddings", "slot " + text(slot), "one that a tile was encoded to");
    }
  }
}

void check_batch(const EngineInfo& info, const StepBatch& batch, const std::vector<bool>& slot_filled,
                 std::span<const int32_t> drawn) {
  check_lengths(info, batch);
  check_fed(batch, drawn);
  check_optional_values(info, batch);
  std::vector<BlockUse> blocks(info.num_kv_blocks);
  for (size_t s = 0; s < batch.num_sequences(); s++) check_sequence(info, batch, s, slot_filled, blocks);
  for (size_t s = 0; s < batch.num_sequences(); s++) check_sharing(info, batch, s, blocks);
}

}  // namespace tessera
