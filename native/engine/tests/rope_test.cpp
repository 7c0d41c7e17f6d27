/** Owns the proof that a token's angles follow from its position and its prompt's length alone, stretched as stated. */
#include "model/rope.h"

#include <cmath>

#include "tests/check.h"

namespace {

using namespace tessera;

DecoderConfig config_of(double factor) {
  DecoderConfig config;
  config.head_dim = 16;
  config.rope_theta = 1e4;
  config.rope_factor = factor;
  config.trained_length = 64;
  config.context_length = static_cast<int>(64 * factor);
  return config;
}

/** Angles of `count` tokens from `first` on of one sequence. */
struct Angles {
  std::vector<float> cos, sin;
  Angles(const DecoderConfig& config, int prompt, int first, int count) {
    std::vector<int32_t> positions, ids(count), lengths = {prompt}, starts = {0, count};
    for (int i = 0; i < count; i++) positions.push_back(first + i);
    const std::vector<uint8_t> sample = {0};
    StepBatch batch;
    batch.token_ids = ids;
    batch.positions = positions;
    batch.query_starts = starts;
    batch.prompt_lengths = lengths;
    batch.sample = sample;
    Rope(config).angles(batch, cos, sin);
  }
};

double frequency(double base, int i) { return std::pow(base, -i / 8.0); }

TEST(rope_is_plain_within_the_trained_length) {
  const Angles angles(config_of(6), 10, 0, 64);
  for (int p = 0; p < 64; p++) {
    for (int i = 0; i < 8; i++) CHECK(std::fabs(angles.cos[p * 8 + i] - std::cos(p * frequency(1e4, i))) < 2e-5);
  }
  CHECK(Angles(config_of(1), 10, 0, 64).sin == angles.sin);
}

TEST(rope_follows_the_prompt_and_then_the_position) {
  for (const auto& [prompt, position, length] : {std::tuple{100, 3, 100}, {100, 99, 100}, {100, 150, 151}, {64, 63, 64},
                                                {64, 64, 65}, {1, 300, 301}}) {
    const Angles angles(config_of(6), prompt, position, 1);
    const double base = 1e4 * std::pow(6.0 * length / 64 - 5, 16.0 / 14);
    for (int i = 0; i < 8; i++) {
      CHECK(std::fabs(angles.sin[i] - std::sin(position * frequency(base, i))) < 1e-4);
    }
  }
}

TEST(rope_is_the_same_in_any_cut) {
  const DecoderConfig config = config_of(6);
  for (const int prompt : {1, 64, 65, 130}) {
    const Angles whole(config, prompt, 0, 200);
    for (int p = 0; p < 200; p++) {
      const Angles one(config, prompt, p, 1);
      CHECK(std::equal(one.cos.begin(), one.cos.end(), whole.cos.begin() + p * 8));
      CHECK(std::equal(one.sin.begin(), one.sin.end(), whole.sin.begin() + p * 8));
    }
  }
}

}  // namespace
