/** Owns the proof that a bad step or tile is an error before memory is touched: damaged batches, at random, on an engine. */
#include <algorithm>
#include <limits>

#include "tests/check.h"
#include "tests/fuzz.h"
#include "tests/tiny_model.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

/** A batch with its memory. */
struct Batch {
  std::vector<int32_t> token_ids, positions, embedding_rows, query_starts, block_tables, prompt_lengths, top_k;
  std::vector<int32_t> num_top, seen_starts, seen_ids, seen_counts, bias_starts, bias_ids;
  std::vector<uint8_t> sample;
  std::vector<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty, biases;
  std::vector<uint64_t> seed;
  int max_blocks = 2;

  StepBatch view() const {
    return {token_ids, positions, embedding_rows, query_starts, block_tables, max_blocks, prompt_lengths, sample,
            temperature, top_p, top_k, seed, min_p, repetition_penalty, presence_penalty, frequency_penalty, num_top,
            seen_starts, seen_ids, seen_counts, bias_starts, bias_ids, biases};
  }
};

/** Two sequences of 40 and 3 new tokens, the first with a tile; its blocks are 0 and 1, the other's is 2. */
Batch good_batch() {
  Batch batch;
  batch.query_starts = {0, 40, 43};
  for (int t = 0; t < 43; t++) {
    batch.token_ids.push_back(t % 61);
    batch.positions.push_back(t < 40 ? t : t - 40);
    batch.embedding_rows.push_back(t == 5 ? 1 : -1);
  }
  batch.block_tables = {0, 1, 2, -1};
  batch.prompt_lengths = {40, 3};
  batch.sample = {1, 1};
  batch.temperature = {0, 0.8f};
  batch.top_p = {1, 0.9f};
  batch.top_k = {0, 5};
  batch.seed = {1, 2};
  batch.min_p = {0, 0.05f};
  batch.repetition_penalty = {1, 1.2f};
  batch.presence_penalty = {0, 0.5f};
  batch.frequency_penalty = {0, 0.5f};
  batch.num_top = {0, 3};
  batch.seen_starts = {0, 0, 2};
  batch.seen_ids = {4, 60};
  batch.seen_counts = {0, 2};
  batch.bias_starts = {0, 1, 2};
  batch.bias_ids = {3, 5};
  batch.biases = {1, -2};
  return batch;
}

const int32_t kIntegers[] = {0,  1,  -1, -2, 31, 32, 60, 61, 95, 96, 191, 192, 193, 1 << 20,
                             std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()};
const float kFloats[] = {0, -1, 1, 2, 1e30f, std::numeric_limits<float>::infinity(),
                         std::numeric_limits<float>::quiet_NaN()};

template <class T>
void damage(std::vector<T>& values, T value, Random& random) {
  switch (random.below(5)) {
    case 0: values.push_back(value); break;
    case 1: if (!values.empty()) values.pop_back(); break;
    default: if (!values.empty()) values[random.below(values.size())] = value;
  }
}

void damage(Batch& batch, Random& random) {
  const int32_t integer = kIntegers[random.below(std::size(kIntegers))];
  const float number = kFloats[random.below(std::size(kFloats))];
  std::vector<int32_t>* integers[] = {&batch.token_ids,    &batch.positions,      &batch.embedding_rows,
                                      &batch.query_starts, &batch.block_tables,   &batch.prompt_lengths,
                                      &batch.top_k,        &batch.num_top,        &batch.seen_starts,
                                      &batch.seen_ids,     &batch.seen_counts,    &batch.bias_starts,
                                      &batch.bias_ids};
  std::vector<float>* numbers[] = {&batch.temperature,      &batch.top_p,             &batch.min_p, &batch.biases,
                                   &batch.presence_penalty, &batch.frequency_penalty, &batch.repetition_penalty};
  switch (random.below(10)) {
    case 0:
    case 1: damage(*numbers[random.below(std::size(numbers))], number, random); break;
    case 2: damage(batch.sample, static_cast<uint8_t>(integer), random); break;
    case 3: batch.max_blocks = integer; break;
    default: damage(*integers[random.below(std::size(integers))], integer, random);
  }
}

TEST(fuzz_steps_are_refused_or_harmless) {
  const Folder folder;
  write_tiny_model(folder);
  const auto engine = Engine::open(tiny_options(folder, 2));
  const std::vector<uint8_t> pixels(8 * 8 * 3, 90);
  const std::vector<int32_t> slot = {1};
  engine->encode_tiles(pixels, slot);
  const Batch good = good_batch();
  const std::vector<float> expected = engine->logits(good.view());
  // The token behind the first sequence reads all that it wrote.
  Batch next;
  next.token_ids = {7};
  next.positions = {40};
  next.embedding_rows = {-1};
  next.query_starts = {0, 1};
  next.block_tables = {0, 1};
  next.prompt_lengths = {40};
  next.sample = {1};
  next.temperature = {0};
  next.top_p = {1};
  next.top_k = {0};
  next.seed = {1};
  const std::vector<float> expected_next = engine->logits(next.view());
  Random random(fuzz_seed() + 4);
  size_t num_refused = 0;
  for (size_t i = 0; i < fuzz_cases() / 2; i++) {
    Batch bad = good;
    for (size_t k = 0, count = 1 + random.below(2); k < count; k++) damage(bad, random);
    try {
      engine->step(bad.view());
    } catch (const Error& error) {
      num_refused++;
      CHECK(same_bits(engine->logits(next.view()), expected_next));
      continue;
    }
    engine->logits(good.view());  // what was taken may have written anywhere
  }
  CHECK(num_refused > fuzz_cases() / 8);
  CHECK(same_bits(engine->logits(good.view()), expected));
}

TEST(tiles_are_checked_before_they_are_read) {
  const Folder folder;
  write_tiny_model(folder);
  const auto engine = Engine::open(tiny_options(folder));
  const std::vector<uint8_t> pixels(2 * 8 * 8 * 3);
  const auto encode = [&](size_t bytes, std::vector<int32_t> slots) {
    engine->encode_tiles(std::span(pixels).first(bytes), slots);
  };
  CHECK_REFUSES("no slots", encode(0, {}));
  CHECK_REFUSES("bytes of pixels", encode(191, {0}));
  CHECK_REFUSES("slot 2", encode(192, {2}));
  CHECK_REFUSES("slot -1", encode(192, {-1}));
  CHECK_REFUSES("twice", encode(384, {1, 1}));
  CHECK_REFUSES("slot 0", engine->tile_embeddings(std::vector<int32_t>{0}));
  encode(384, {1, 0});
  CHECK_EQUAL(engine->tile_embeddings(std::vector<int32_t>{0, 1, 0}).size(), 3u * 24);
}

}  // namespace
