#include "ops/cuda/step_inputs.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/cuda/cuda_error.h"
#include "ops/cuda/packer.h"

namespace tessera::cuda {

void StepInputs::send(const StepLayout& step) {
  device_.use();
  const size_t num_tokens = step.positions.size();
  const size_t num_sequences = step.query_starts.size() - 1;
  std::vector<int32_t> sequence_of(num_tokens);
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

  sent_.wait();
  if (packer.bytes() > host_.bytes()) {
    const size_t room = packer.bytes() * 2;
    host_.reserve(room);
    device_memory_ = {};
    device_memory_ = device_.allocate_raw(room);
  }
  packer.write(host_.data());
  char* base = static_cast<char*>(device_memory_.memory.get());
  must(cudaMemcpyAsync(base, host_.data(), packer.bytes(), cudaMemcpyHostToDevice, device_.stream()),
       "send a step's arrays");
  sent_.record(device_.stream());

  const auto ints = [&](size_t at) { return reinterpret_cast<const int32_t*>(base + at); };
  tables.positions = ints(positions);
  tables.sequence_of = ints(sequences);
  tables.query_starts = ints(starts);
  tables.block_tables = ints(blocks);
  tables.max_pages = step.max_blocks;
  tables.num_tokens = static_cast<int>(num_tokens);
  tables.num_sequences = static_cast<int>(num_sequences);
  tables_ = tables;
  token_ids_ = ints(ids);
  embedding_rows_ = ints(rows);
  wanted_ = ints(wanted);
  cos_ = reinterpret_cast<const float*>(base + cos);
  sin_ = reinterpret_cast<const float*>(base + sin);
}

}  // namespace tessera::cuda
