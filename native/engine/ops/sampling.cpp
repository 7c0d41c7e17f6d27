#include "ops/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace tessera {

namespace {

uint64_t splitmix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

struct Candidate {
  int32_t id;
  float logit;
};

/** Larger logit first, lower id on a tie: an order without equals, so that every sort agrees. */
bool before(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

/** Keeps the k first, sorted. */
void keep_top(std::vector<Candidate>& candidates, size_t k) {
  if (k < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + k, candidates.end(), before);
    candidates.resize(k);
  }
  std::sort(candidates.begin(), candidates.end(), before);
}

/** The id whose share of the mass holds `draw`. */
int32_t pick(const std::vector<Candidate>& candidates, const std::vector<double>& mass, size_t count, double draw) {
  double total = 0;
  for (size_t i = 0; i < count; i++) total += mass[i];
  double left = draw * total;
  int32_t last = candidates[0].id;
  for (size_t i = 0; i < count; i++) {
    if (mass[i] <= 0) continue;
    last = candidates[i].id;
    left -= mass[i];
    if (left < 0) break;
  }
  return last;
}

int32_t draw_token(std::span<const float> logits, float max, const SamplingParams& params) {
  const double inverse = 1.0 / params.temperature;
  const auto mass_of = [&](float logit) { return std::exp((static_cast<double>(logit) - max) * inverse); };
  std::vector<Candidate> candidates;
  const bool top_k = params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size();
  const bool top_p = params.top_p < 1;
  // Tokens of less than (1 - top_p) / V of the mass weigh less than 1 - top_p together: none of them is needed to reach
  // top_p, and most of a vocabulary needs no sorting. With top_k the mass is the cut one, so the rule does not hold.
  double least = 0;
  if (top_p && !top_k) {
    double total = 0;
    for (float logit : logits) total += mass_of(logit);
    least = total * (1.0 - params.top_p) / static_cast<double>(logits.size());
  }
  for (size_t id = 0; id < logits.size(); id++) {
    if (least == 0 || mass_of(logits[id]) >= least) candidates.push_back({static_cast<int32_t>(id), logits[id]});
  }
  if (top_k || top_p) keep_top(candidates, top_k ? params.top_k : candidates.size());

  std::vector<double> mass(candidates.size());
  double total = 0;
  for (size_t i = 0; i < candidates.size(); i++) total += mass[i] = mass_of(candidates[i].logit);
  size_t count = candidates.size();
  if (top_p) {
    if (least > 0) {
      total = 0;
      for (float logit : logits) total += mass_of(logit);
    }
    double reached = 0;
    for (count = 0; count < candidates.size() && (count == 0 || reached < params.top_p * total); count++) {
      reached += mass[count];
    }
  }
  return pick(candidates, mass, count, uniform_draw(params.seed, params.position));
}

}  // namespace

double uniform_draw(uint64_t seed, uint64_t position) {
  return static_cast<double>(splitmix(splitmix(seed) ^ position) >> 11) * 0x1p-53;
}

SampledToken sample_token(std::span<const float> logits, const SamplingParams& params) {
  float max = -std::numeric_limits<float>::infinity();
  int32_t best = -1;
  for (size_t id = 0; id < logits.size(); id++) {
    if (std::isnan(logits[id])) return {};
    if (logits[id] > max) {
      max = logits[id];
      best = static_cast<int32_t>(id);
    }
  }
  if (!std::isfinite(max)) return {};
  double total = 0;
  for (float logit : logits) total += std::exp(static_cast<double>(logit) - max);
  const int32_t id = params.temperature == 0 ? best : draw_token(logits, max, params);
  return {id, static_cast<float>(static_cast<double>(logits[id]) - max - std::log(total))};
}

}  // namespace tessera
