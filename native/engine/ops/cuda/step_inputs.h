/** Owns what kernels know of a step: positions, sequences, block tables and rotations, sent to the device in one copy. */
#pragma once

#include "ops/cuda/device.h"
#include "ops/cuda/kernels/kernels.h"
#include "ops/ops.h"

namespace tessera::cuda {

/** Rows that a step in which so many sequences decode is padded to: few shapes, and little waste. */
size_t padded_tokens(size_t count);

class StepInputs {
 public:
  explicit StepInputs(Device& device) : device_(device) {}

  /** Takes the memory of steps up to this size. */
  void reserve(size_t num_tokens, size_t num_sequences, int max_blocks, int head_dim);
  /**
   * Takes a step's arrays; what they said of the step before is overwritten behind its work. A step in which every
   * sequence has one token, all wanted, is padded to one of few shapes.
   * @return whether memory moved, so that what was recorded over it is stale
   */
  bool send(const StepLayout& step);

  /** Whether all is as for any step of as many tokens and pages: launches differ in nothing. */
  bool is_decode() const { return is_decode_; }

  const StepTables& tables() const { return tables_; }
  int32_t* token_ids() const { return token_ids_; }
  /** [T] row of the last draws that a token's id is taken from, or -1; null where there is none. */
  const int32_t* ids_from() const { return ids_from_; }
  const int32_t* embedding_rows() const { return embedding_rows_; }
  const int32_t* wanted() const { return wanted_; }
  const float* cos() const { return cos_; }
  const float* sin() const { return sin_; }
  bool has_prompts() const { return tables_.max_queries > 1; }
  /** Keys of the longest sequence with one new token; 0 where there is none. */
  int max_decode_keys() const { return max_decode_keys_; }

 private:
  /** Two in turn: the copy of the step before may be on its way. */
  struct Stage {
    PinnedMemory memory;
    Event sent;
  };

  Device& device_;
  Stage stages_[kMaxStepsInFlight];
  int next_stage_ = 0;
  Buffer device_memory_;
  StepTables tables_;
  int32_t* token_ids_ = nullptr;
  const int32_t* ids_from_ = nullptr;
  const int32_t* embedding_rows_ = nullptr;
  const int32_t* wanted_ = nullptr;
  const float* cos_ = nullptr;
  const float* sin_ = nullptr;
  int max_decode_keys_ = 0;
  bool is_decode_ = false;
};

}  // namespace tessera::cuda
