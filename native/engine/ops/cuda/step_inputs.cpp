#include "ops/cuda/step_inputs.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <vector>

#include "ops/cuda/cuda_error.h"
#include "ops/cuda/packer.h"

namespace tessera::cuda {

size_t padded_tokens(size_t count) {
  for (const size_t few : {1, 2, 4}) {
    if (count <= few) return few;
  }
  const size_t step = count <= 64 ? 8 : count <= 256 ? 16 : 64;
  return (count + step - 1) / step * step;
}

namespace {

/** Whether every sequence has one new token, all of them wanted. */
bool decodes(const StepLayout& step) {
  const size_t count = step.positions.size();
  if (count == 0 || step.query_starts.size() != count + 1 || step.wanted.size() != count) return false;
  for (size_t t = 0; t < count; t++) {
    if (step.query_starts[t + 1] != static_cast<int32_t>(t) + 1 || step.wanted[t] != static_cast<int32_t>(t)) return false;
  }
  return true;
}

/** The arrays of a padded step; `layout` are views of them. */
struct Padded {
  std::vector<int32_t> positions, query_starts, block_tables, token_ids, embedding_rows, wanted, ids_from;
  std::vector<float> cos, sin;
  StepLayout layout;

  explicit Padded(const StepLayout& step) {
    const size_t count = step.positions.size();
    const size_t rows = padded_tokens(count);
    const auto pad = [&](std::span<const int32_t> values, int32_t with) {
      std::vector<int32_t> out(values.begin(), values.end());
      out.resize(rows, with);
      return out;
    };
    positions = pad(step.positions, 0);
    token_ids = pad(step.token_ids, 0);
    embedding_rows = pad(step.embedding_rows, -1);
    wanted = pad(step.wanted, 0);
    if (!step.ids_from.empty()) ids_from = pad(step.ids_from, -1);
    query_starts.assign(step.query_starts.begin(), step.query_starts.end());
    query_starts.resize(rows + 1, static_cast<int32_t>(count));
    const int max_blocks = static_cast<int>(std::bit_ceil(static_cast<unsigned>(step.max_blocks)));
    block_tables.assign(rows * max_blocks, -1);
    for (size_t s = 0; s < count; s++) {
      const auto own = step.block_tables.subspan(s * step.max_blocks, step.max_blocks);
      std::copy(own.begin(), own.end(), block_tables.begin() + s * max_blocks);
    }
    const size_t half = step.head_dim / 2;
    cos.assign(step.cos, step.cos + count * half);
    sin.assign(step.sin, step.sin + count * half);
    cos.resize(rows * half);
    sin.resize(rows * half);
    layout = {positions, query_starts, block_tables, max_blocks, step.num_heads, cos.data(), sin.data(),
              token_ids, embedding_rows, wanted, step.head_dim, ids_from};
  }
};

}  // namespace

void StepInputs::reserve(size_t num_tokens, size_t num_sequences, int max_blocks, int head_dim) {
  // As `send` packs them, each array rounded up.
  const size_t per_token = 6 * sizeof(int32_t) + static_cast<size_t>(head_dim) * sizeof(float);
  const size_t tables = num_sequences * static_cast<size_t>(max_blocks) * sizeof(int32_t);
  const size_t bytes = num_tokens * per_token + (num_sequences + 1) * sizeof(int32_t) + tables + 10 * 16;
  if (bytes > device_memory_.bytes) {
    device_memory_ = {};
    device_memory_ = device_.allocate_raw(bytes);
  }
  for (Stage& stage : stages_) stage.memory.reserve(device_memory_.bytes);
}

bool StepInputs::send(const StepLayout& given) {
  device_.use();
  is_decode_ = decodes(given);
  std::optional<Padded> padded;
  if (is_decode_) padded.emplace(given);
  const StepLayout& step = is_decode_ ? padded->layout : given;
  const size_t num_tokens = step.positions.size();
  const size_t num_sequences = step.query_starts.size() - 1;
  std::vector<int32_t> sequence_of(num_tokens, -1);
  StepTables tables;
  max_decode_keys_ = 0;
  for (size_t s = 0; s < num_sequences; s++) {
    const int first = step.query_starts[s];
    const int last = step.query_starts[s + 1];
    if (first == last) continue;
    std::fill(sequence_of.begin() + first, sequence_of.begin() + last, static_cast<int32_t>(s));
    const int keys = step.positions[last - 1] + 1;
    tables.max_queries = std::max(tables.max_queries, last - first);
    tables.max_keys = std::max(tables.max_keys, keys);
    if (last - first == 1) max_decode_keys_ = std::max(max_decode_keys_, keys);
  }
  // As far as the pages reach, so that the launch is the same however long the sequences are.
  if (is_decode_) tables.max_keys = max_decode_keys_ = step.max_blocks * kPageTokens;
  const size_t angles = num_tokens * (step.head_dim / 2) * sizeof(float);
  Packer packer;
  const size_t positions = packer.add(step.positions);
  const size_t sequences = packer.add(std::span<const int32_t>(sequence_of));
  const size_t starts = packer.add(step.query_starts);
  const size_t blocks = packer.add(step.block_tables);
  const size_t ids = packer.add(step.token_ids);
  const size_t rows = packer.add(step.embedding_rows);
  const size_t wanted = packer.add(step.wanted);
  const size_t cos = packer.add(step.cos, angles);
  const size_t sin = packer.add(step.sin, angles);
  const size_t from = packer.add(step.ids_from);

  Stage& stage = stages_[next_stage_];
  next_stage_ = (next_stage_ + 1) % kMaxStepsInFlight;
  stage.sent.wait();
  const bool moves = packer.bytes() > device_memory_.bytes;
  if (moves) {
    device_memory_ = {};
    device_memory_ = device_.allocate_raw(packer.bytes() * 2);
  }
  stage.memory.reserve(device_memory_.bytes);
  packer.write(stage.memory.data());
  char* base = static_cast<char*>(device_memory_.memory.get());
  must(cudaMemcpyAsync(base, stage.memory.data(), packer.bytes(), cudaMemcpyHostToDevice, device_.stream()),
       "send a step's arrays");
  stage.sent.record(device_.stream());

  const auto ints = [&](size_t at) { return reinterpret_cast<int32_t*>(base + at); };
  tables.positions = ints(positions);
  tables.sequence_of = ints(sequences);
  tables.query_starts = ints(starts);
  tables.block_tables = ints(blocks);
  tables.max_pages = step.max_blocks;
  tables.num_tokens = static_cast<int>(num_tokens);
  tables.num_sequences = static_cast<int>(num_sequences);
  tables_ = tables;
  token_ids_ = ints(ids);
  ids_from_ = step.ids_from.empty() ? nullptr : ints(from);
  embedding_rows_ = ints(rows);
  wanted_ = ints(wanted);
  cos_ = reinterpret_cast<const float*>(base + cos);
  sin_ = reinterpret_cast<const float*>(base + sin);
  return moves;
}

}  // namespace tessera::cuda
