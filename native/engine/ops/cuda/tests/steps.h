/** Owns what tests of steps share: four sequences that draw in four ways, as batches, one step at a time or in line. */
#pragma once

#include <algorithm>
#include <deque>

#include "tests/tiny_model.h"

namespace tessera::tests {

/** How each of the sequences draws. */
struct Sampling {
  float temperature = 0;
  float frequency = 0;
  float repetition = 1;
  int num_top = 0;
};
inline const std::vector<Sampling> kSamplings = {{}, {.temperature = 1.3f}, {.frequency = 0.8f, .repetition = 1.2f},
                                          {.temperature = 0.7f, .frequency = -0.5f, .num_top = 3}};
inline constexpr int kSteps = 8;
/** The second sequence's answer ends there. */
inline constexpr int kEnd = 4;

struct Sequence {
  std::vector<int32_t> tokens;
  size_t num_prompt = 0;
};

/** A step and the memory of its batch. */
struct Step {
  std::vector<int> who;  // sequence of each row
  std::vector<int32_t> token_ids, positions, embedding_rows, query_starts = {0}, block_tables, prompt_lengths, top_k;
  std::vector<int32_t> num_top, seen_starts = {0}, seen_ids, seen_counts, ids_from;
  std::vector<uint8_t> sample;
  std::vector<float> temperature, top_p, repetition, presence, frequency;
  std::vector<uint64_t> seed;

  /** `count` tokens from `first` on; what is beyond the known ones is drawn by row `from` of the step before. */
  void add(int index, const Sequence& sequence, int first, int count, int from) {
    who.push_back(index);
    for (int position = first; position < first + count; position++) {
      const bool is_known = position < static_cast<int>(sequence.tokens.size());
      token_ids.push_back(is_known ? sequence.tokens[position] : -1);
      positions.push_back(position);
      embedding_rows.push_back(-1);
    }
    query_starts.push_back(static_cast<int32_t>(token_ids.size()));
    block_tables.insert(block_tables.end(), {2 * index + 1, 2 * index});
    prompt_lengths.push_back(static_cast<int32_t>(sequence.num_prompt));
    const Sampling& own = kSamplings[index];
    sample.push_back(1);
    temperature.push_back(own.temperature);
    top_p.push_back(index == 3 ? 0.9f : 1);
    top_k.push_back(0);
    seed.push_back(100 + index);
    num_top.push_back(own.num_top);
    repetition.push_back(own.repetition);
    presence.push_back(0);
    frequency.push_back(own.frequency);
    ids_from.push_back(from);
    if (own.frequency != 0) {
      for (size_t i = 0; i < sequence.tokens.size(); i++) {
        const auto begin = seen_ids.begin() + seen_starts.back();
        const auto found = std::find(begin, seen_ids.end(), sequence.tokens[i]);
        const int in_answer = i >= sequence.num_prompt ? 1 : 0;
        if (found != seen_ids.end()) {
          seen_counts[found - seen_ids.begin()] += in_answer;
        } else {
          seen_ids.push_back(sequence.tokens[i]);
          seen_counts.push_back(in_answer);
        }
      }
    }
    seen_starts.push_back(static_cast<int32_t>(seen_ids.size()));
  }

  StepBatch view() const {
    StepBatch out;
    out.token_ids = token_ids, out.positions = positions, out.embedding_rows = embedding_rows;
    out.query_starts = query_starts, out.block_tables = block_tables, out.max_blocks = 2;
    out.prompt_lengths = prompt_lengths, out.sample = sample, out.temperature = temperature;
    out.top_p = top_p, out.top_k = top_k, out.seed = seed, out.num_top = num_top;
    out.repetition_penalty = repetition, out.presence_penalty = presence, out.frequency_penalty = frequency;
    out.seen_starts = seen_starts, out.seen_ids = seen_ids, out.seen_counts = seen_counts, out.ids_from = ids_from;
    return out;
  }
};

/** Tokens of each sequence, and what was told with them. */
struct Answers {
  std::vector<Sequence> sequences;
  std::vector<float> logprobs;
  bool operator==(const Answers& other) const {
    const auto same = [](const Sequence& a, const Sequence& b) { return a.tokens == b.tokens; };
    return std::equal(sequences.begin(), sequences.end(), other.sequences.begin(), other.sequences.end(), same) &&
           logprobs == other.logprobs;
  }
};

/** `depth` steps in flight at once. Rows change places; a sequence that has ended is still in the step in line. */
inline Answers generate(Engine& engine, int depth) {
  Answers out;
  for (int i = 0; i < 4; i++) {
    Sequence& sequence = out.sequences.emplace_back();
    sequence.num_prompt = 5 + 9 * static_cast<size_t>(i);
    for (size_t t = 0; t < sequence.num_prompt; t++) sequence.tokens.push_back(static_cast<int32_t>((t * 7 + i * 11) % 61));
  }
  std::deque<std::pair<Step, std::unique_ptr<StepInFlight>>> flights;
  std::vector<size_t> planned(4, 0);  // tokens whose keys are written, or will be
  int num_submitted = 0;
  bool has_ended = false;
  while (true) {
    while (num_submitted < kSteps && static_cast<int>(flights.size()) < depth) {
      Step step;
      for (int k = 0; k < 4; k++) {
        const int i = (k + num_submitted) % 4;
        if (i == 1 && has_ended) continue;
        const Sequence& sequence = out.sequences[i];
        const int first = static_cast<int>(planned[i]);
        const int count = first == 0 ? static_cast<int>(sequence.num_prompt) : 1;
        int from = -1;
        if (first + count > static_cast<int>(sequence.tokens.size())) {
          const std::vector<int>& rows = flights.back().first.who;
          from = static_cast<int>(std::find(rows.begin(), rows.end(), i) - rows.begin());
        }
        step.add(i, sequence, first, count, from);
        planned[i] += count;
      }
      std::unique_ptr<StepInFlight> running = engine.submit(step.view());
      flights.emplace_back(std::move(step), std::move(running));
      num_submitted++;
    }
    if (flights.empty()) return out;
    const StepResult result = flights.front().second->take();
    const std::vector<int> who = flights.front().first.who;
    flights.pop_front();
    for (size_t row = 0; row < who.size(); row++) {
      if (who[row] == 1 && has_ended) continue;  // what was computed for it is thrown away
      out.sequences[who[row]].tokens.push_back(result.token_ids[row]);
    }
    // In an order that does not depend on places.
    for (int i = 0; i < 4; i++) {
      const auto found = std::find(who.begin(), who.end(), i);
      if (found == who.end() || (i == 1 && has_ended)) continue;
      const size_t row = found - who.begin();
      out.logprobs.push_back(result.logprobs[row]);
      for (int t = 0; t < result.max_top; t++) {
        out.logprobs.push_back(static_cast<float>(result.top_ids[row * result.max_top + t]));
        out.logprobs.push_back(result.top_logprobs[row * result.max_top + t]);
      }
    }
    has_ended = has_ended || out.sequences[1].tokens.size() - out.sequences[1].num_prompt == kEnd;
  }
}

/** bf16 and room for all sequences. */
inline EngineOptions options_of(const Folder& folder, Device device) {
  EngineOptions options = tiny_options(folder);
  options.dtype = Dtype::kBf16;
  options.device = device;
  options.kv_cache_bytes = 1 << 20;
  return options;
}

}  // namespace tessera::tests
