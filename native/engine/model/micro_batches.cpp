#include "model/micro_batches.h"

#include <algorithm>

namespace tessera {

MicroBatch::MicroBatch(const StepLayout& step, size_t first, size_t count) : step_(step), first_(first), count_(count) {
  const auto begin = static_cast<int32_t>(first), end = static_cast<int32_t>(first + count);
  const auto& starts = step.query_starts;
  while (starts[first_sequence_ + 1] <= begin) first_sequence_++;
  for (size_t s = first_sequence_; s + 1 < starts.size() && starts[s] < end; s++) {
    query_starts_.push_back(std::min(starts[s + 1], end) - begin);
  }
}

StepLayout MicroBatch::layout() const {
  StepLayout part = step_;
  const size_t num_sequences = query_starts_.size() - 1;
  const size_t max_blocks = step_.max_blocks;
  const size_t half = step_.head_dim / 2;
  part.positions = step_.positions.subspan(first_, count_);
  part.query_starts = query_starts_;
  part.block_tables = step_.block_tables.subspan(first_sequence_ * max_blocks, num_sequences * max_blocks);
  part.cos = step_.cos + first_ * half;
  part.sin = step_.sin + first_ * half;
  part.token_ids = step_.token_ids.subspan(first_, count_);
  part.embedding_rows = step_.embedding_rows.subspan(first_, count_);
  part.wanted = {};
  part.ids_from = {};
  return part;
}

std::vector<MicroBatch> cut_step(const StepLayout& step, size_t min_rows) {
  const size_t num_rows = step.positions.size();
  std::vector<MicroBatch> parts;
  size_t cut = num_rows / 2;
  const auto next = std::upper_bound(step.query_starts.begin(), step.query_starts.end(), static_cast<int32_t>(cut));
  if (cut > 0 && next != step.query_starts.end()) {
    const auto begin = static_cast<size_t>(*(next - 1)), end = static_cast<size_t>(*next);
    if (cut - begin == 1) cut = begin;
    if (end - cut == 1 && end - begin > 1) cut = end;
  }
  if (min_rows == 0 || num_rows < 2 * min_rows || cut == 0 || cut == num_rows) {
    parts.emplace_back(step, 0, num_rows);
  } else {
    parts.emplace_back(step, 0, cut);
    parts.emplace_back(step, cut, num_rows - cut);
  }
  return parts;
}

}  // namespace tessera
