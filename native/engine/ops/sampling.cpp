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

int32_t draw_token(std::span<const float> logits, float max, const SamplingParams& params, ExpSum exp_sum) {
  const bool top_k = params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size();
  const bool top_p = params.top_p < 1;
  // Tokens of less than share / V of the mass weigh less than `share` together. Those beyond top_p's share are never
  // needed to reach it, so most of a vocabulary is neither weighed nor sorted. After top_k the mass is another.
  const double share = top_p && !top_k ? std::max(1.0 - params.top_p, 0x1p-40) : 0x1p-40;
  const float scale = std::min(1 / params.temperature, 1e30f);  // finite, or 0 * infinity would be the largest's
  const double total = exp_sum(logits.data(), logits.size(), max, scale);
  const double light = std::min(1.0, total * share / static_cast<double>(logits.size()));
  const double least = max + params.temperature * std::log(light);
  std::vector<Candidate> candidates;
  for (size_t id = 0; id < logits.size(); id++) {
    if (logits[id] >= least) candidates.push_back({static_cast<int32_t>(id), logits[id]});
  }
  if (top_k || top_p) keep_top(candidates, top_k ? params.top_k : candidates.size());

  std::vector<double> mass(candidates.size());
  double kept = 0;
  for (size_t i = 0; i < candidates.size(); i++) {
    mass[i] = std::exp((static_cast<double>(candidates[i].logit) - max) / params.temperature);
    kept += mass[i];
  }
  size_t count = candidates.size();
  if (top_p) {
    const double wanted = params.top_p * (top_k ? kept : total);
    double reached = 0;
    for (count = 0; count < candidates.size() && (count == 0 || reached < wanted); count++) reached += mass[count];
  }
  return pick(candidates, mass, count, uniform_draw(params.seed, params.position));
}

}  // namespace

double uniform_draw(uint64_t seed, uint64_t position) {
  return static_cast<double>(splitmix(splitmix(seed) ^ position) >> 11) * 0x1p-53;
}

SampledToken sample_token(std::span<const float> logits, const SamplingParams& params, ExpSum exp_sum) {
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
  const double total = exp_sum(logits.data(), logits.size(), max, 1);
  const int32_t id = params.temperature == 0 ? best : draw_token(logits, max, params, exp_sum);
  return {id, static_cast<float>(static_cast<double>(logits[id]) - max - std::log(total))};
}

}  // namespace tessera
