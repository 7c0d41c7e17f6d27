#include "ops/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
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
  double light = std::min(1.0, total * share / static_cast<double>(logits.size()));
  // What min_p removes is not needed either, unless top_p takes its share of the top_k. The exact cut comes below.
  if (!top_k) light = std::max(light, params.min_p * 0.999999);
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
  for (size_t i = 0; i < count; i++) {
    if (mass[i] < params.min_p) mass[i] = 0;  // the largest mass is 1
  }
  return pick(candidates, mass, count, uniform_draw(params.seed, params.position));
}

/** The largest logit, the lowest id on a tie; id -1 where one is NaN or the largest is infinite. */
Candidate find_largest(std::span<const float> logits, Largest largest) {
  constexpr size_t kBlock = 4096;  // what is looked through again for the id
  float max = -std::numeric_limits<float>::infinity();
  size_t block = 0;
  for (size_t first = 0; first < logits.size(); first += kBlock) {
    const float most = largest(logits.data() + first, std::min(kBlock, logits.size() - first));
    if (std::isnan(most)) return {-1, 0};
    if (most > max) {
      max = most;
      block = first;
    }
  }
  if (!std::isfinite(max)) return {-1, 0};
  const auto id = std::find(logits.begin() + block, logits.end(), max) - logits.begin();
  return {static_cast<int32_t>(id), max};
}

/** The `count` largest, sorted. */
std::vector<Candidate> largest_of(std::span<const float> logits, size_t count) {
  std::vector<Candidate> top;
  top.reserve(count + 1);
  for (size_t id = 0; id < logits.size(); id++) {
    const Candidate candidate = {static_cast<int32_t>(id), logits[id]};
    if (top.size() == count && !before(candidate, top.back())) continue;
    top.insert(std::upper_bound(top.begin(), top.end(), candidate, before), candidate);
    if (top.size() > count) top.pop_back();
  }
  return top;
}

/** Biases and penalties applied to logits for as long as this lives. */
class ChangedLogits {
 public:
  ChangedLogits(std::span<float> logits, const SamplingParams& params) : logits_(logits) {
    before_.reserve(params.bias_ids.size() + params.seen_ids.size());
    for (size_t i = 0; i < params.bias_ids.size(); i++) set(params.bias_ids[i], at(params.bias_ids[i]) + params.biases[i]);
    for (size_t i = 0; i < params.seen_ids.size(); i++) {
      const int32_t id = params.seen_ids[i];
      float logit = at(id);
      logit = logit < 0 ? logit * params.repetition_penalty : logit / params.repetition_penalty;
      const int32_t count = params.seen_counts[i];
      if (count > 0) logit -= params.presence_penalty + static_cast<float>(count) * params.frequency_penalty;
      set(id, logit);
    }
  }

  ~ChangedLogits() {
    for (auto change = before_.rbegin(); change != before_.rend(); ++change) logits_[change->first] = change->second;
  }

  ChangedLogits(const ChangedLogits&) = delete;
  ChangedLogits& operator=(const ChangedLogits&) = delete;

 private:
  float at(int32_t id) const { return logits_[id]; }
  void set(int32_t id, float logit) {
    before_.emplace_back(id, logits_[id]);
    logits_[id] = logit;
  }

  std::span<float> logits_;
  std::vector<std::pair<int32_t, float>> before_;
};

int32_t choose(std::span<const float> logits, Candidate best, const SamplingParams& params, ExpSum exp_sum) {
  return params.temperature == 0 ? best.id : draw_token(logits, best.logit, params, exp_sum);
}

}  // namespace

double uniform_draw(uint64_t seed, uint64_t position) {
  return static_cast<double>(splitmix(splitmix(seed) ^ position) >> 11) * 0x1p-53;
}

float plain_largest(const float* x, size_t n) {
  float max = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < n; i++) {
    if (std::isnan(x[i])) return x[i];
    max = std::max(max, x[i]);
  }
  return max;
}

SampledToken sample_token(std::span<float> logits, const SamplingParams& params, ExpSum exp_sum, Largest largest) {
  const Candidate best = find_largest(logits, largest);
  if (best.id < 0) return {};
  int32_t id = -1;
  if (params.bias_ids.empty() && params.seen_ids.empty()) {
    id = choose(logits, best, params, exp_sum);
  } else {
    const ChangedLogits changed(logits, params);
    const Candidate changed_best = find_largest(logits, largest);
    if (changed_best.id < 0) return {};
    id = choose(logits, changed_best, params, exp_sum);
  }
  const double log_total = std::log(exp_sum(logits.data(), logits.size(), best.logit, 1));
  const auto logprob = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - best.logit - log_total);
  };
  SampledToken token = {id, logprob(logits[id]), {}};
  if (params.num_top > 0) {
    for (const Candidate& each : largest_of(logits, params.num_top)) token.top.push_back({each.id, logprob(each.logit)});
  }
  return token;
}

}  // namespace tessera
