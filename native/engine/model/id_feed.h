/** Owns how tokens that a step draws become inputs of the next: by row on a device that feeds itself, else by the host. */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/ops.h"
#include "tessera/engine.h"

namespace tessera {

class IdFeed {
 public:
  /** Of each sequence of the last step the row of its draw; -1 where it drew none. */
  std::span<const int32_t> draw_rows() const { return draw_rows_; }

  /** The step behind which the next one comes. */
  void remember(const StepBatch& batch);
  /** What it drew, where the host knows before the next step. */
  void remember_ids(std::span<const SampledToken> tokens);

  /** [S] draw row of each sequence's last token, or -1; empty where the batch is fed nothing. Good until the next call. */
  std::span<const int32_t> rows_of(const StepBatch& batch);
  /** [T] the same of each token. */
  std::span<const int32_t> token_rows_of(const StepBatch& batch, std::span<const int32_t> rows);

  /** [T] the batch's ids with the drawn ones in their places. Good until the next call. Throws Error. */
  std::span<const int32_t> resolve_ids(const StepBatch& batch, std::span<const int32_t> rows);
  /** Counts drawn ids in the lists of what penalties are about. These are good until the next call. */
  void resolve_penalties(std::span<SamplingParams> params);

 private:
  struct Seen {
    std::vector<int32_t> ids, counts;
  };

  std::vector<int32_t> draw_rows_, drawn_ids_;
  std::vector<int32_t> rows_, token_rows_, token_ids_;
  std::vector<Seen> seen_;  // one for each sequence it is needed for
};

}  // namespace tessera
