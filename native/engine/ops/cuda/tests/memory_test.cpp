/** Owns tests of memory on a GPU: all of it is taken at open, no step waits but for its draws, the KV cache has its share. */
#include <cuda_runtime_api.h>

#include <cmath>

#include "ops/cuda/tests/steps.h"
#include "runtime/counters.h"
#include "tests/check.h"

using namespace tessera;
using namespace tessera::tests;

namespace {

/** The four sequences' prompts in one step. */
constexpr int kPromptTokens = 5 + 14 + 23 + 32;

EngineOptions bounded_options(const Folder& folder) {
  EngineOptions options = options_of(folder, Device::kCuda);
  options.max_step_tokens = kPromptTokens;
  options.max_step_sequences = 4;
  return options;
}

bool took_memory(const cuemu::Counters& before, const cuemu::Counters& after) {
  return before.allocations != after.allocations || before.pinned_allocations != after.pinned_allocations ||
         before.frees != after.frees;
}

size_t free_bytes(int device) {
  size_t free = 0, total = 0;
  cudaSetDevice(device);
  cudaMemGetInfo(&free, &total);
  return free;
}

}  // namespace

TEST(no_memory_is_taken_once_an_engine_is_open) {
  const Folder folder;
  write_tiny_model(folder, {.num_layers = 4, .trained_length = 192, .head_dim = 8});
  for (const std::vector<int>& split : {std::vector<int>{}, {0, 1, 1, 0}}) {
    EngineOptions options = bounded_options(folder);
    options.layer_devices = split;
    const auto engine = Engine::open(options);
    const cuemu::Counters opened = cuemu::counters();
    // The largest step comes first, and decoding is recorded on the way.
    const Answers first = generate(*engine, 2);
    CHECK(!took_memory(opened, cuemu::counters()));
    std::vector<uint8_t> pixels(2 * 8 * 8 * 3, 100);
    engine->encode_tiles(pixels, std::vector<int32_t>{1, 0});
    CHECK(!took_memory(opened, cuemu::counters()));
    CHECK(generate(*engine, 1) == first);
    CHECK(!took_memory(opened, cuemu::counters()));
  }
}

TEST(lists_of_penalties_as_long_as_they_can_be_take_no_memory_and_longer_ones_are_refused) {
  const Folder folder;
  constexpr int kVocab = 6000, kContext = 5120;
  write_tiny_model(folder, {.num_layers = 1, .trained_length = kContext / 2, .head_dim = 8, .vocab = kVocab});
  EngineOptions options = options_of(folder, Device::kCuda);
  options.max_step_tokens = 8, options.max_step_sequences = 2;
  const auto engine = Engine::open(options);
  CHECK_EQUAL(engine->info().context_length, kContext);
  const cuemu::Counters opened = cuemu::counters();
  Step step;
  for (int i = 2; i < 4; i++) step.add(i, {{3, 1, 4, 1}, 4}, 0, 4, -1);
  std::vector<int32_t> bias_starts, bias_ids;
  const auto fill = [&](int seen, int biases) {
    step.seen_starts.clear(), step.seen_ids.clear(), step.seen_counts.clear();
    bias_starts.clear(), bias_ids.clear();
    for (int s = 0; s <= 2; s++) {
      step.seen_starts.push_back(seen * s), bias_starts.push_back(biases * s);
      for (int i = 0; s < 2 && i < seen; i++) step.seen_ids.push_back(i), step.seen_counts.push_back(1);
      for (int i = 0; s < 2 && i < biases; i++) bias_ids.push_back(kVocab - 1 - i);
    }
  };
  const auto submit = [&] {
    StepBatch batch = step.view();
    const std::vector<float> biases(bias_ids.size(), -1.0f);
    batch.bias_starts = bias_starts, batch.bias_ids = bias_ids, batch.biases = biases;
    return engine->submit(batch);
  };
  fill(kContext, kMaxBiases);
  auto first = submit();
  step.ids_from = {0, 1};  // whose tokens are seen too
  auto second = submit();
  CHECK(first->take().token_ids[0] >= 0);
  CHECK(second->take().token_ids[0] >= 0);
  step.ids_from = {-1, -1};
  fill(kContext + 1, 0);
  CHECK_REFUSES("seenIds holds 5121 of sequence 0", submit());
  fill(0, kMaxBiases + 1);
  CHECK_REFUSES("biasIds holds 2049 of sequence 0", submit());
  CHECK(!took_memory(opened, cuemu::counters()));
}

TEST(a_step_waits_for_its_draws_alone) {
  const Folder folder;
  write_tiny_model(folder, {.trained_length = 192, .head_dim = 8});
  const auto engine = Engine::open(bounded_options(folder));
  for (const int depth : {1, 2, 1, 2}) {
    const cuemu::Counters before = cuemu::counters();
    (void)generate(*engine, depth);
    CHECK(cuemu::counters().waits - before.waits <= static_cast<uint64_t>(kSteps));
  }
}

TEST(steps_beyond_what_memory_was_taken_for_are_refused) {
  const Folder folder;
  write_tiny_model(folder, {.trained_length = 192, .head_dim = 8});
  EngineOptions options = bounded_options(folder);
  options.max_step_tokens = kPromptTokens - 1;
  CHECK_REFUSES("74 tokens", generate(*Engine::open(options), 1));
  options.max_step_tokens = kPromptTokens;
  options.max_step_sequences = 3;
  CHECK_REFUSES("4 sequences", generate(*Engine::open(options), 1));
  options.max_step_sequences = 0;
  CHECK_REFUSES("maxStepSequences", Engine::open(options));
  // The CPU's memory grows with the steps.
  options = bounded_options(folder);
  options.device = Device::kCpu;
  options.max_step_tokens = 4;
  CHECK_EQUAL(generate(*Engine::open(options), 1).sequences.size(), size_t{4});
}

TEST(the_kv_cache_takes_its_share_of_what_is_free) {
  const Folder folder;
  write_tiny_model(folder, {.num_layers = 4, .trained_length = 192, .head_dim = 8});
  EngineOptions options = bounded_options(folder);
  const auto check_share = [&](double share, int device, uint64_t bytes) {
    const double room = static_cast<double>(free_bytes(device) + bytes);
    CHECK(std::fabs(static_cast<double>(bytes) / room - share) < 0.001);
  };
  for (const double share : {0.25, 0.5}) {
    options.kv_memory_share = share;
    const auto engine = Engine::open(options);
    check_share(share, 0, engine->info().kv_cache_bytes);
    CHECK(generate(*engine, 2).sequences[0].tokens.size() > 0);
  }
  options.layer_devices = {0, 1, 1, 1};
  // The second device has three of four layers, which is what bounds both.
  const auto engine = Engine::open(options);
  check_share(0.5, 1, engine->info().kv_cache_bytes / 4 * 3);
  for (const double bad : {-0.1, 1.1, std::nan("")}) {
    options.kv_memory_share = bad;
    CHECK_REFUSES("kvMemoryShare", Engine::open(options));
  }
}
