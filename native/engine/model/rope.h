/**
 * Owns the angles of rotary positions, with dynamic NTK scaling beyond the trained length. There, transformers' own
 * `generate` turns a prompt of L tokens by the base that belongs to L, and each later token, at position p, by the base
 * that belongs to p + 1, what was cached before keeping its old rotation. So a token's angle is a function of its
 * position and its prompt's length alone: the base belongs to max(trained length, L, position + 1). That is computed
 * here, whatever the chunks, the batch or a resume look like. A cached block may be shared between sequences whose
 * prompts are both within the trained length, or of one length.
 */
#pragma once

#include <span>
#include <vector>

#include "model/config.h"
#include "tessera/engine.h"

namespace tessera {

class Rope {
 public:
  explicit Rope(const DecoderConfig& config);

  /** cos and sin [T][head_dim / 2] of a batch's new tokens. */
  void angles(const StepBatch& batch, std::vector<float>& cos, std::vector<float>& sin) const;

 private:
  /** [head_dim / 2] for sequences of `length` tokens. */
  std::vector<float> frequencies(int length) const;

  const DecoderConfig& config_;
  std::vector<float> trained_;  // within the trained length
};

}  // namespace tessera
