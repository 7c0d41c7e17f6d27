/** Owns the proof that draws follow the distribution asked for, and depend on seed and position alone. */
#include "ops/sampling.h"

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

SampledToken draw(const std::vector<float>& logits, const SamplingParams& params) {
  return sample_token(logits, params, plain_exp_sum);
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

}  // namespace
