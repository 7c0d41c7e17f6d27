#include "model/rehearsal.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace tessera {

namespace {

/** Tables of callers are no narrower, and what is prepared for a step depends on that. */
constexpr size_t kTableBlocks = 16;

/** `num_sequences` with as many new tokens each, from their beginning. */
void run_step(const EngineInfo& info, size_t num_sequences, size_t tokens_each, Decoder& decoder, Ops& ops,
              const float* tiles) {
  const size_t num_tokens = num_sequences * tokens_each;
  const size_t own_blocks = (tokens_each + info.kv_block_size - 1) / info.kv_block_size;
  const size_t max_blocks = std::max(own_blocks, kTableBlocks);
  const std::vector<int32_t> ids(num_tokens), rows(num_tokens, -1);
  std::vector<int32_t> positions(num_tokens), starts{0}, tables(num_sequences * max_blocks, -1), wanted;
  const std::vector<int32_t> lengths(num_sequences, static_cast<int32_t>(tokens_each));
  for (size_t s = 0; s < num_sequences; s++) {
    std::iota(positions.begin() + s * tokens_each, positions.begin() + (s + 1) * tokens_each, 0);
    const auto table = tables.begin() + s * max_blocks;
    std::iota(table, table + own_blocks, static_cast<int32_t>(s * own_blocks));
    starts.push_back(static_cast<int32_t>((s + 1) * tokens_each));
    wanted.push_back(starts.back() - 1);
  }
  StepBatch batch;
  batch.token_ids = ids, batch.positions = positions, batch.embedding_rows = rows, batch.query_starts = starts;
  batch.block_tables = tables, batch.max_blocks = static_cast<int>(max_blocks), batch.prompt_lengths = lengths;
  const Rows logits = decoder.forward(batch, tiles, wanted, {});
  const std::vector<SamplingParams> params(num_sequences);
  std::vector<SampledToken> drawn(num_sequences);
  ops.sample(logits, params, drawn);
}

}  // namespace

void rehearse_steps(const EngineInfo& info, Decoder& decoder, Ops& ops, const float* tiles) {
  const int most = std::min(info.max_step_sequences, info.num_kv_blocks);
  size_t rows = 0;
  for (int count = 1; count <= most; count++) {
    if (ops.decode_rows(count) == rows) continue;
    rows = ops.decode_rows(count);
    run_step(info, count, 1, decoder, ops, tiles);
  }
  const int longest = std::min({info.num_kv_blocks * info.kv_block_size, info.context_length, info.max_step_tokens});
  // 2, 3, 4, 6, 8, 12 and so on: prompts come in any length, and one between two of these is at most half as long again.
  for (int length = 2; length < longest; length *= 2) {
    run_step(info, 1, length, decoder, ops, tiles);
    if (length / 2 * 3 < longest) run_step(info, 1, length / 2 * 3, decoder, ops, tiles);
  }
  run_step(info, 1, longest, decoder, ops, tiles);
}

}  // namespace tessera
