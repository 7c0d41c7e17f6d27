/** Owns the proof that draws follow the distribution asked for, and depend on seed and position alone. */
#include "ops/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/check.h"
#include "tests/support.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

double plain_exp_sum(const float* x, size_t n, float max, float scale) {
  double total = 0;
  for (size_t i = 0; i < n; i++) total += std::exp((static_cast<double>(x[i]) - max) * scale);
  return total;
}

SampledToken draw(std::vector<float> logits, const SamplingParams& params) {
  const std::vector<float> before = logits;
  const SampledToken token = sample_token(logits, params, plain_exp_sum);
  // NaN is no number's equal.
  for (size_t i = 0; i < logits.size(); i++) CHECK(logits[i] == before[i] || std::isnan(before[i]));
  return token;
}

TEST(greedy_takes_the_lowest_of_equals_in_a_long_row) {
  constexpr size_t kSize = 20'000;
  for (size_t first : {0, 4095, 4096, 4097, 8191, 12'288, 19'998}) {
    std::vector<float> logits(kSize, -1);
    logits[first] = logits[kSize - 1] = 2;
    CHECK_EQUAL(draw(logits, {}).id, static_cast<int32_t>(first));
    logits[kSize / 2 - 1] = std::numeric_limits<float>::quiet_NaN();
    CHECK_EQUAL(draw(logits, {}).id, -1);
  }
}

TEST(greedy_takes_the_lowest_of_equals) {
  CHECK_EQUAL(draw({1, 5, 5, 2}, {}).id, 1);
  CHECK_EQUAL(draw({-kInfinity, -3, -kInfinity}, {}).id, 1);
  CHECK(std::fabs(draw({0, 0, 0, 0}, {}).logprob - std::log(0.25f)) < 1e-6f);
}

TEST(logits_that_are_no_numbers_give_no_token) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (float temperature : {0.0f, 1.0f}) {
    CHECK_EQUAL(draw({1, nan, 2}, {.temperature = temperature}).id, -1);
    CHECK_EQUAL(draw({nan, nan}, {.temperature = temperature}).id, -1);
    CHECK_EQUAL(draw({1, kInfinity}, {.temperature = temperature}).id, -1);
    CHECK_EQUAL(draw({-kInfinity, -kInfinity}, {.temperature = temperature}).id, -1);
  }
}

/** Shares of `count` draws at positions 0, 1, .. */
std::vector<double> shares(const std::vector<float>& logits, SamplingParams params, int count) {
  std::vector<double> out(logits.size());
  for (int i = 0; i < count; i++) {
    params.position = i;
    out[draw(logits, params).id] += 1.0 / count;
  }
  return out;
}

TEST(draws_follow_the_temperature) {
  const std::vector<float> logits = {0, 1, 2, -1, 0.5f};
  for (float temperature : {0.5f, 1.0f, 3.0f}) {
    const int count = 40'000;
    const auto got = shares(logits, {.temperature = temperature, .seed = 7}, count);
    double total = 0;
    for (float logit : logits) total += std::exp(logit / temperature);
    for (size_t i = 0; i < logits.size(); i++) {
      const double p = std::exp(logits[i] / temperature) / total;
      CHECK(std::fabs(got[i] - p) < 5 * std::sqrt(p * (1 - p) / count));  // five sigma
    }
  }
}

TEST(top_k_and_top_p_cut_the_tail) {
  const std::vector<float> logits = {std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)};
  auto got = shares(logits, {.temperature = 1, .top_k = 2, .seed = 1}, 4000);
  CHECK(got[2] == 0 && got[3] == 0);
  CHECK(std::fabs(got[0] - 4.0 / 7) < 0.04);
  got = shares(logits, {.temperature = 1, .top_p = 0.65f, .seed = 1}, 4000);
  CHECK(got[2] == 0 && got[3] == 0 && got[1] > 0.3);
  got = shares(logits, {.temperature = 1, .top_p = 0.75f, .seed = 1}, 4000);
  CHECK(got[2] > 0.1 && got[3] == 0);
  // After top_k = 2 the masses are 4/7 and 3/7: 0.5 is reached by the first alone.
  got = shares(logits, {.temperature = 1, .top_p = 0.5f, .top_k = 2, .seed = 1}, 1000);
  CHECK_EQUAL(got[0], shares(logits, {}, 1000)[0]);
  CHECK_EQUAL(draw(logits, {.temperature = 5, .top_k = 1, .seed = 3}).id, 0);
  CHECK_EQUAL(draw(logits, {.temperature = 5, .top_p = 1e-6f, .seed = 3}).id, 0);
}

TEST(top_p_is_exact_on_a_large_vocabulary) {
  Random random(9);
  std::vector<float> logits = random.values(5'000, 4);
  std::vector<double> sorted;
  for (float logit : logits) sorted.push_back(std::exp(static_cast<double>(logit)));
  std::sort(sorted.rbegin(), sorted.rend());
  double total = 0;
  for (double mass : sorted) total += mass;
  for (float top_p : {0.1f, 0.5f, 0.9f, 0.99f}) {
    double reached = 0;
    size_t count = 0;
    while (reached < top_p * total) reached += sorted[count++];
    const double least = std::log(sorted[count - 1]);
    for (uint64_t position = 0; position < 200; position++) {
      const auto token = draw(logits, {.temperature = 1, .top_p = top_p, .seed = 5, .position = position});
      CHECK(logits[token.id] >= least - 1e-6);
    }
  }
}

TEST(extreme_temperatures_are_safe) {
  const std::vector<float> logits = {1, 3, 2};
  for (float temperature : {1e-45f, 1e-38f, 1e-6f}) {
    CHECK_EQUAL(draw(logits, {.temperature = temperature, .seed = 1}).id, 1);
  }
  const auto got = shares(logits, {.temperature = 1e30f, .seed = 2}, 6000);
  for (double share : got) CHECK(std::fabs(share - 1.0 / 3) < 0.04);
  CHECK(draw(std::vector<float>(1000, 2.5f), {.temperature = 0.7f, .top_p = 1e-6f}).id >= 0);
}

TEST(a_draw_depends_on_seed_and_position_alone) {
  const double first = uniform_draw(1, 2);
  CHECK_EQUAL(uniform_draw(1, 2), first);
  CHECK(uniform_draw(1, 3) != first);
  CHECK(uniform_draw(2, 2) != first);
  CHECK(uniform_draw(1 + (1ull << 40), 2) != first);
  // Neither neighbouring seeds nor neighbouring positions are related.
  double mean = 0, product = 0;
  const int count = 100'000;
  for (int i = 0; i < count; i++) {
    const double a = uniform_draw(i, 100), b = uniform_draw(i + 1, 100);
    CHECK(a >= 0 && a < 1);
    mean += a / count;
    product += (a - 0.5) * (b - 0.5) / count;
  }
  CHECK(std::fabs(mean - 0.5) < 0.005);
  CHECK(std::fabs(product) < 0.002);
}

TEST(biases_and_penalties_change_the_choice_but_not_the_logprob) {
  const std::vector<float> logits = {1, 3, 2, -1, -2};
  const std::vector<int32_t> bias_ids = {1, 4};
  const std::vector<float> biases = {-kInfinity, 4.5f};
  const auto biased = draw(logits, {.bias_ids = bias_ids, .biases = biases});
  CHECK_EQUAL(biased.id, 4);
  CHECK(std::fabs(biased.logprob - (draw(logits, {}).logprob - 5)) < 1e-5f);

  // Repetition alone: 3 / 2 below 2; a negative logit is multiplied.
  const std::vector<int32_t> seen = {1};
  const std::vector<int32_t> in_prompt = {0}, once = {1}, thrice = {3};
  CHECK_EQUAL(draw(logits, {.repetition_penalty = 2, .seen_ids = seen, .seen_counts = in_prompt}).id, 2);
  const std::vector<float> negative = {-1, -1.5f};
  const std::vector<int32_t> first = {0};
  CHECK_EQUAL(draw(negative, {.repetition_penalty = 2, .seen_ids = first, .seen_counts = in_prompt}).id, 1);
  // OpenAI's two count in the answer only.
  CHECK_EQUAL(draw(logits, {.presence_penalty = 1.5f, .seen_ids = seen, .seen_counts = in_prompt}).id, 1);
  CHECK_EQUAL(draw(logits, {.presence_penalty = 1.5f, .seen_ids = seen, .seen_counts = once}).id, 2);
  CHECK_EQUAL(draw(logits, {.frequency_penalty = 0.5f, .seen_ids = seen, .seen_counts = once}).id, 1);
  CHECK_EQUAL(draw(logits, {.frequency_penalty = 0.5f, .seen_ids = seen, .seen_counts = thrice}).id, 2);
  // A bias comes before the penalty: (3 + 3) / 2 > 2, where 3 / 2 + 3 would be 4.5.
  const std::vector<float> three = {3};
  const std::vector<float> near = {3.25f, 3, 2};
  CHECK_EQUAL(draw(near, {.repetition_penalty = 2, .seen_ids = seen, .seen_counts = once, .bias_ids = seen,
                          .biases = three}).id, 0);
}

TEST(a_distribution_without_a_token_left_gives_none) {
  const std::vector<int32_t> ids = {0, 1};
  const std::vector<float> biases = {-kInfinity, -kInfinity};
  for (float temperature : {0.0f, 1.0f}) {
    CHECK_EQUAL(draw({1, 2}, {.temperature = temperature, .bias_ids = ids, .biases = biases}).id, -1);
  }
}

TEST(min_p_keeps_what_weighs_enough) {
  const std::vector<float> logits = Random(8).values(500, 6);
  const float max = *std::max_element(logits.begin(), logits.end());
  for (float min_p : {0.5f, 0.1f, 0.01f}) {
    for (float temperature : {0.7f, 1.5f}) {
      for (float top_p : {1.0f, 0.9f}) {
        const double least = max + temperature * std::log(min_p);
        bool varied = false;
        int32_t before = -1;
        for (uint64_t position = 0; position < 300; position++) {
          const auto token = draw(logits, {.temperature = temperature, .top_p = top_p, .seed = 3, .position = position,
                                           .min_p = min_p});
          CHECK(logits[token.id] >= least - 1e-5);
          varied = varied || (before >= 0 && token.id != before);
          before = token.id;
        }
        CHECK(varied || min_p == 0.5f);
      }
    }
  }
}

TEST(the_likeliest_are_told_in_order) {
  const std::vector<float> logits = {1, 5, 5, 2, -kInfinity};
  const auto token = draw(logits, {.num_top = 9});
  CHECK_EQUAL(token.top.size(), logits.size());
  const std::vector<int32_t> order = {1, 2, 3, 0, 4};
  for (size_t i = 0; i < order.size(); i++) CHECK_EQUAL(token.top[i].id, order[i]);
  CHECK_EQUAL(token.top[0].logprob, token.logprob);
  CHECK_EQUAL(draw(logits, {.num_top = 2}).top.size(), 2u);
}

}  // namespace
