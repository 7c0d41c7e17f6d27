#include "model/id_feed.h"

#include <algorithm>

namespace tessera {

void IdFeed::remember(const StepBatch& batch) {
  draw_rows_.clear();
  int32_t next = 0;
  for (const uint8_t sample : batch.sample) draw_rows_.push_back(sample == 0 ? -1 : next++);
}

void IdFeed::remember_ids(std::span<const SampledToken> tokens) {
  drawn_ids_.clear();
  for (const SampledToken& token : tokens) drawn_ids_.push_back(token.id);
}

std::span<const int32_t> IdFeed::rows_of(const StepBatch& batch) {
  rows_.clear();
  if (std::all_of(batch.ids_from.begin(), batch.ids_from.end(), [](int32_t from) { return from < 0; })) return rows_;
  for (const int32_t from : batch.ids_from) rows_.push_back(from < 0 ? -1 : draw_rows_[from]);
  return rows_;
}

std::span<const int32_t> IdFeed::token_rows_of(const StepBatch& batch, std::span<const int32_t> rows) {
  token_rows_.clear();
  if (rows.empty()) return token_rows_;
  token_rows_.assign(batch.num_tokens(), -1);
  for (size_t s = 0; s < rows.size(); s++) token_rows_[batch.query_starts[s + 1] - 1] = rows[s];
  return token_rows_;
}

std::span<const int32_t> IdFeed::resolve_ids(const StepBatch& batch, std::span<const int32_t> rows) {
  token_ids_.assign(batch.token_ids.begin(), batch.token_ids.end());
  for (size_t s = 0; s < rows.size(); s++) {
    if (rows[s] < 0) continue;
    const int32_t id = drawn_ids_[rows[s]];
    if (id < 0) refuse("step", "the step before drew no token for sequence " + std::to_string(s), "one");
    token_ids_[batch.query_starts[s + 1] - 1] = id;
  }
  return token_ids_;
}

void IdFeed::resolve_penalties(std::span<SamplingParams> params) {
  seen_.clear();
  seen_.reserve(params.size());  // so that none moves
  for (SamplingParams& p : params) {
    if (p.id_from < 0 || !p.has_penalties()) continue;
    Seen& seen = seen_.emplace_back();
    seen.ids.assign(p.seen_ids.begin(), p.seen_ids.end());
    seen.counts.assign(p.seen_counts.begin(), p.seen_counts.end());
    const int32_t id = drawn_ids_[p.id_from];
    const auto found = std::find(seen.ids.begin(), seen.ids.end(), id);
    if (found == seen.ids.end()) {
      seen.ids.push_back(id);
      seen.counts.push_back(1);
    } else {
      seen.counts[found - seen.ids.begin()] += 1;
    }
    p.seen_ids = seen.ids;
    p.seen_counts = seen.counts;
  }
}

}  // namespace tessera
