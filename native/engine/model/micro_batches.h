/**
 * Owns cutting a step in two, so that of layers that are split over devices one works on the first part's next stage
 * while another is still at the second part. It pays where a device's time grows with the rows, which is from some
 * hundred rows on; below, each part would read all weights for half of the work.
 */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/ops.h"

namespace tessera {

/** Rows [first, first + count) of a step, as a step of their own. */
class MicroBatch {
 public:
  MicroBatch(const StepLayout& step, size_t first, size_t count);

  size_t first() const { return first_; }
  size_t count() const { return count_; }
  /** Views of the step it is cut from, and of this object. It is told no ids of draws and wants no rows. */
  StepLayout layout() const;

 private:
  const StepLayout& step_;
  size_t first_;
  size_t count_;
  size_t first_sequence_ = 0;
  std::vector<int32_t> query_starts_ = {0};
};

/**
 * Two parts of at least about `min_rows` each, or the whole. No sequence is left with one row where it has several:
 * attention computes a single new token in another way, and its bits would be others.
 */
std::vector<MicroBatch> cut_step(const StepLayout& step, size_t min_rows);

}  // namespace tessera
