/** Owns the public C++ API: open a checkpoint, encode tiles, run steps. No N-API and no CUDA types. */
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tessera/error.h"

namespace tessera {

enum class Device { kCpu, kCuda };
enum class Dtype { kBf16, kFp16, kFp32, kInt8, kNf4, kFp4, kFp8 };

/** Whether only the large matrices are of this type, the rest of the model being bf16. */
constexpr bool is_quantised(Dtype dtype) {
  return dtype == Dtype::kInt8 || dtype == Dtype::kNf4 || dtype == Dtype::kFp4 || dtype == Dtype::kFp8;
}

/** Where weights are kept as they were packed, so that they are packed once. */
struct WeightCacheOptions {
  std::string folder;      // made where it is missing; empty: nothing is kept
  uint64_t max_bytes = 0;  // of all files in it; what was used longest ago goes first
};

/** How to open an engine. */
struct EngineOptions {
  std::string model_path;  // folder with config.json and *.safetensors
  Device device = Device::kCpu;
  Dtype dtype = Dtype::kBf16;
  int num_threads = 0;          // 0: as many as the process may use
  uint64_t kv_cache_bytes = 0;  // rounded down to whole blocks, but never below one sequence of trained_length
  // Of a device with memory of its own what the KV cache takes, in place of kv_cache_bytes: this share of what is free once
  // all else is in it. 0: kv_cache_bytes; the CPU always.
  double kv_memory_share = 0;
  // The largest step there will be. A device with memory of its own takes all that it needs when it opens, and refuses
  // larger ones; without them (0) memory grows with the steps, as it does on the CPU.
  int max_step_tokens = 0;
  int max_step_sequences = 0;
  // Folder in which a GPU's choices of algorithms are kept. Where it is given, and the largest step too, the engine rehearses
  // its steps as it opens, and makes the choices that are not there yet. Empty: neither.
  std::string algorithm_cache;
  int num_tile_slots = 1;
  // [decoder layers] device of each, where all else is on device 0; empty: one device. On the CPU devices are virtual:
  // each has its own threads, layers and cache.
  std::vector<int> layer_devices;
  // Devices that compute each decoder layer together, each with its heads, its part of the MLP and of the vocabulary.
  // Not with `layer_devices` of several.
  int tensor_parallel = 1;
  // Of the devices, those that hold the vision tower, each encoding its share of the tiles; 0: all with tensor_parallel,
  // else the first.
  int vision_devices = 0;
  // Layers split over GPUs: a step of twice as many rows goes through them in two parts, each device working at one of
  // them; 0: never. Below some hundred rows a part takes as long as the whole: weights are what is read.
  int micro_batch_rows = 256;
  WeightCacheOptions weight_cache;
  // The output head in int8, a scale a row, activations in 16 bits: half of what a decoding step reads of it.
  bool int8_head = false;
};

/** What an open engine is; fixed for its lifetime. */
struct EngineInfo {
  Device device = Device::kCpu;
  Dtype dtype = Dtype::kBf16;
  std::string isa;
  int num_threads = 0;      // of each device
  int num_devices = 0;
  int tile_size = 0;        // pixels
  int tokens_per_tile = 0;
  int vocab_size = 0;
  int hidden_size = 0;
  int kv_block_size = 0;    // tokens
  int num_kv_blocks = 0;
  uint64_t kv_cache_bytes = 0;  // of all devices
  int max_step_tokens = 0;      // 0: any
  int max_step_sequences = 0;   // 0: any
  int num_tile_slots = 0;
  int steps_in_flight = 1;  // that are worth having: more where a device goes on while the host prepares
  int trained_length = 0;   // tokens the position encoding was trained for
  int context_length = 0;   // tokens it is stretched to, at least trained_length
  uint64_t weight_bytes = 0;
  std::string dtype_note;   // why a part of the weights is not of `dtype`; empty where all is as asked
  std::string algorithms;   // what came of `algorithm_cache`: `off`, or how many were kept and measured
  std::string weight_cache; // what came of it: `off`, `read`, `written`, or `rebuilt: why`, `unused: why`
};

/** S sequences with T new tokens in all; sequence s owns tokens query_starts[s] .. query_starts[s + 1]. Not owned. */
struct StepBatch {
  std::span<const int32_t> token_ids;       // [T]
  std::span<const int32_t> positions;       // [T]
  std::span<const int32_t> embedding_rows;  // [T] -1 for text, else slot * tokens_per_tile + row
  std::span<const int32_t> query_starts;    // [S + 1]
  std::span<const int32_t> block_tables;    // [S * max_blocks], -1 padded
  int max_blocks = 0;
  std::span<const int32_t> prompt_lengths;  // [S] tokens of the whole prompt, whichever of them are in this step
  std::span<const uint8_t> sample;          // [S] 1: sample after the last token
  std::span<const float> temperature;       // [S] 0 is greedy
  std::span<const float> top_p;             // [S] in (0, 1]
  std::span<const int32_t> top_k;           // [S] 0 is off
  std::span<const uint64_t> seed;           // [S]

  // Any of these may be empty, which is as if every sequence had the value that changes nothing.
  std::span<const float> min_p;               // [S] 0 is off
  std::span<const float> repetition_penalty;  // [S] 1 is off
  std::span<const float> presence_penalty;    // [S] 0 is off
  std::span<const float> frequency_penalty;   // [S] 0 is off
  std::span<const int32_t> num_top;           // [S] likeliest tokens to tell, up to kMaxTop

  // Tokens that penalties are about: sequence s has entries seen_starts[s] .. seen_starts[s + 1].
  std::span<const int32_t> seen_starts;  // [S + 1], or empty
  std::span<const int32_t> seen_ids;     // [P] distinct within a sequence
  std::span<const int32_t> seen_counts;  // [P] how often in the answer; 0: in the prompt alone
  // Numbers added to logits; minus infinity forbids a token.
  std::span<const int32_t> bias_starts;  // [S + 1], or empty
  std::span<const int32_t> bias_ids;     // [B]
  std::span<const float> biases;         // [B]

  // Of sequences whose last token is drawn by the step before, which need not have ended: its row there, whose token
  // `token_ids` then does not tell; -1 of all others. Penalties count that token as one more of the answer.
  std::span<const int32_t> ids_from;  // [S], or empty

  size_t num_sequences() const { return sample.size(); }
  size_t num_tokens() const { return token_ids.size(); }
};

/** Most tokens told with a sampled one. */
inline constexpr int kMaxTop = 64;
/** Most biases of a sequence, on a device that takes all memory as it opens (`max_step_sequences`). */
inline constexpr int kMaxBiases = 2048;

/** [S] each; -1 and 0 where nothing was to be sampled. Log-probabilities are under the unmodified distribution. */
struct StepResult {
  std::vector<int32_t> token_ids;
  std::vector<float> logprobs;
  int max_top = 0;                  // largest num_top
  std::vector<int32_t> top_ids;     // [S * max_top] likeliest first, -1 padded
  std::vector<float> top_logprobs;  // [S * max_top]
};

/** A step in line or running. */
class StepInFlight {
 public:
  virtual ~StepInFlight() = default;
  /** Waits for the step's results, once; from any thread, beside a `submit` or `encode_tiles` too. */
  virtual StepResult take() = 0;
};

/** Steps that may be in flight at once: one runs, one waits for it. */
inline constexpr int kMaxStepsInFlight = 2;

/**
 * A loaded model. Calls come one at a time, from any thread. Arguments are checked before memory is touched; a bad one
 * throws `Error` and changes nothing. A sequence's results depend on its own tokens alone, bit for bit: not on the rest
 * of the batch, on how its prompt was cut into steps, or on the number of threads.
 */
class Engine {
 public:
  static std::unique_ptr<Engine> open(const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const EngineInfo& info() const = 0;
  /**
   * `pixels`: [N * tile_size * tile_size * 3] u8 RGB; `slots`: [N] where the embeddings stay. With steps in flight it goes in
   * line behind them, before those that are submitted next.
   */
  virtual void encode_tiles(std::span<const uint8_t> pixels, std::span<const int32_t> slots) = 0;
  /**
   * Puts a step in line behind the one before, up to `kMaxStepsInFlight`; calls but `encode_tiles` come when none is in
   * flight. On a device without a line of its own the step has run when this returns. The engine outlives what is returned.
   */
  virtual std::unique_ptr<StepInFlight> submit(const StepBatch& batch) = 0;
  StepResult step(const StepBatch& batch) { return submit(batch)->take(); }
  /** Throws what `step` would throw of this batch before it runs the model. */
  virtual void check(const StepBatch& batch) const = 0;
  /** Logits of every new token, [T * vocab_size]; writes the KV cache as `step` does. */
  virtual std::vector<float> logits(const StepBatch& batch) = 0;
  /** Embeddings in filled slots, [N * tokens_per_tile * hidden_size]. */
  virtual std::vector<float> tile_embeddings(std::span<const int32_t> slots) = 0;
};

}  // namespace tessera
