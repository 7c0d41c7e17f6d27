/** Owns tests of steps in line: the tokens that steps one by one give, however late the host looks at them. */
#include "ops/cuda/tests/steps.h"
#include "runtime/counters.h"
#include "tests/check.h"

using namespace tessera;
using namespace tessera::tests;

TEST(steps_in_line_draw_what_steps_one_by_one_draw) {
  const Folder folder;
  write_tiny_model(folder, {.num_layers = 4, .trained_length = 192, .head_dim = 8});
  for (const int way : {0, 1, 2}) {
    EngineOptions options = options_of(folder, Device::kCuda);
    if (way == 1) options.layer_devices = {0, 1, 1, 0};
    if (way == 2) options.tensor_parallel = 3;
    const auto engine = Engine::open(options);
    CHECK_EQUAL(engine->info().steps_in_flight, 2);
    const Answers expected = generate(*engine, 1);
    CHECK_EQUAL(expected.sequences[0].tokens.size(), size_t{5 + kSteps});
    for (int round = 0; round < (way == 2 ? 1 : 2); round++) CHECK(generate(*engine, 2) == expected);
  }
  // On the CPU a step has run when the next comes, and goes on from its tokens all the same.
  const auto cpu = Engine::open(options_of(folder, Device::kCpu));
  CHECK(generate(*cpu, 2) == generate(*cpu, 1));
}

TEST(tiles_in_line_are_those_of_the_steps_behind_them) {
  const Folder folder;
  write_tiny_model(folder, {.trained_length = 192, .head_dim = 8});
  for (const bool is_cut : {false, true}) {
    EngineOptions options = options_of(folder, Device::kCuda);
    if (is_cut) options.tensor_parallel = 3;
    options.max_step_tokens = 64, options.max_step_sequences = 4;
    const auto engine = Engine::open(options);
    // Two tiles in turn in one slot, a step that reads it in front of each and behind.
    const size_t tile_bytes = static_cast<size_t>(engine->info().tile_size) * engine->info().tile_size * 3;
    const std::vector<uint8_t> tiles[] = {std::vector<uint8_t>(tile_bytes, 30), std::vector<uint8_t>(tile_bytes, 200)};
    const std::vector<int32_t> slot = {0};
    Step step;
    step.add(0, {{3, 1, 4, 1, 5, 9}, 6}, 0, 6, -1);
    step.embedding_rows[2] = 0;
    std::vector<float> expected;
    for (const auto& tile : tiles) {
      engine->encode_tiles(tile, slot);
      expected.push_back(engine->step(step.view()).logprobs[0]);
    }
    CHECK(expected[0] != expected[1]);
    step.ids_from = {-1};
    std::unique_ptr<StepInFlight> running = engine->submit(step.view());
    for (int round = 0; round < 2; round++) {
      const cuemu::Counters before = cuemu::counters();
      engine->encode_tiles(tiles[round % 2], slot);
      std::unique_ptr<StepInFlight> behind = engine->submit(step.view());
      if (round == 0) CHECK_EQUAL(cuemu::counters().waits - before.waits, uint64_t{0});
      CHECK_EQUAL(running->take().logprobs[0], expected[round == 0 ? 1 : (round + 1) % 2]);
      running = std::move(behind);
    }
    CHECK_EQUAL(running->take().logprobs[0], expected[1]);
  }
}

TEST(what_is_in_line_is_bounded_and_checked) {
  const Folder folder;
  write_tiny_model(folder, {.trained_length = 192, .head_dim = 8});
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    const auto engine = Engine::open(options_of(folder, device));
    Sequence sequence = {{3, 1, 4}, 3};
    Step first;
    first.add(0, sequence, 0, 3, -1);
    auto running = engine->submit(first.view());
    Step next;
    next.add(0, sequence, 3, 1, 0);
    for (const int bad : {1, -2}) {
      next.ids_from = {bad};
      CHECK_REFUSES("idsFrom", engine->submit(next.view()));
    }
    next.ids_from = {0, 0};
    CHECK_REFUSES("idsFrom", engine->submit(next.view()));
    next.ids_from = {-1};
    CHECK_REFUSES("token id", engine->submit(next.view()));
    next.ids_from = {0};
    {
      const auto behind = engine->submit(next.view());
      CHECK_REFUSES("2 steps are in flight", engine->submit(next.view()));
      // One that nobody takes is thrown away.
    }
    const int32_t id = running->take().token_ids[0];
    CHECK(id >= 0);
    // What was thrown away has drawn as well: the next step is to go on from the first one.
    running = engine->submit(first.view());
    const auto again = engine->submit(next.view());
    const int32_t behind = again->take().token_ids[0];
    sequence.tokens.push_back(id);
    Step known;
    known.add(0, sequence, 3, 1, -1);
    CHECK_EQUAL(engine->step(known.view()).token_ids[0], behind);
  }
}
