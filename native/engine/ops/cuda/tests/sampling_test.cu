/** Owns tests of the draw: the ids that the definition in `ops/sampling.h` gives, for every cut and penalty, at odd sizes. */
#include "ops/sampling.h"

#include <algorithm>

#include "ops/cuda/tests/support.h"

using namespace tessera::cuda;
using namespace tessera::cuda::tests;
using tessera::SampledToken;
using tessera::SamplingParams;

namespace {

double exp_sum(const float* x, size_t n, float max, float scale) {
  double total = 0;
  for (size_t i = 0; i < n; i++) total += std::exp((static_cast<double>(x[i]) - max) * scale);
  return total;
}

/** A row's parameters with the lists they point to. */
struct Request {
  SamplingParams params;
  std::vector<int32_t> seen_ids = {};
  std::vector<int32_t> seen_counts = {};
  std::vector<int32_t> bias_ids = {};
  std::vector<float> biases = {};
};

/** Draws all rows at once, and each by the definition; logits [rows][vocab] lie `stride` apart. */
void check_draws(const std::vector<std::vector<float>>& logits, const std::vector<Request>& requests) {
  const size_t num_rows = logits.size();
  const size_t vocab = logits[0].size();
  const size_t stride = vocab + 3;
  std::vector<float> flat(num_rows * stride, 7e7f);  // between rows: larger than any
  std::vector<SamplingRow> rows;
  std::vector<int32_t> seen_ids{-1}, seen_counts{0}, bias_ids{-1};  // nobody's entries
  std::vector<float> biases{0};
  int max_top = 1;
  for (size_t r = 0; r < num_rows; r++) {
    std::copy(logits[r].begin(), logits[r].end(), flat.begin() + r * stride);
    const Request& request = requests[r];
    const SamplingParams& p = request.params;
    rows.push_back({.seed = p.seed,
                    .position = p.position,
                    .temperature = p.temperature,
                    .top_p = p.top_p,
                    .min_p = p.min_p,
                    .repetition_penalty = p.repetition_penalty,
                    .presence_penalty = p.presence_penalty,
                    .frequency_penalty = p.frequency_penalty,
                    .top_k = p.top_k,
                    .num_top = p.num_top,
                    .first_seen = static_cast<int32_t>(seen_ids.size()),
                    .num_seen = static_cast<int32_t>(request.seen_ids.size()),
                    .first_bias = static_cast<int32_t>(bias_ids.size()),
                    .num_biases = static_cast<int32_t>(request.bias_ids.size())});
    seen_ids.insert(seen_ids.end(), request.seen_ids.begin(), request.seen_ids.end());
    seen_counts.insert(seen_counts.end(), request.seen_counts.begin(), request.seen_counts.end());
    bias_ids.insert(bias_ids.end(), request.bias_ids.begin(), request.bias_ids.end());
    biases.insert(biases.end(), request.biases.begin(), request.biases.end());
    max_top = std::max(max_top, p.num_top);
  }
  const auto num_seen = static_cast<int>(seen_ids.size());
  const auto num_biases = static_cast<int>(bias_ids.size());
  Array<float> device(flat), device_biases(biases);
  Array<SamplingRow> device_rows(rows);
  Array<int32_t> device_seen(seen_ids), device_counts(seen_counts), device_bias_ids(bias_ids);
  const auto rows_int = static_cast<int>(num_rows);
  Array<char> workspace(sampling_workspace_bytes(rows_int, static_cast<int>(vocab), num_seen, num_biases));
  Array<int32_t> ids(num_rows), top_ids(num_rows * max_top);
  Array<float> logprobs(num_rows), top_logprobs(num_rows * max_top);
  const SamplingTables tables = {device_rows.data(), device_seen.data(),   device_counts.data(), device_bias_ids.data(),
                                 device_biases.data(), num_seen, num_biases};
  must(sample(device.data(), stride, rows_int, static_cast<int>(vocab), tables, workspace.data(),
              {ids.data(), logprobs.data(), top_ids.data(), top_logprobs.data(), max_top}, nullptr));

  const auto got_ids = ids.read(), got_top = top_ids.read();
  const auto got_logprobs = logprobs.read(), got_top_logprobs = top_logprobs.read();
  for (size_t r = 0; r < num_rows; r++) {
    const Request& request = requests[r];
    SamplingParams params = request.params;
    params.seen_ids = request.seen_ids;
    params.seen_counts = request.seen_counts;
    params.bias_ids = request.bias_ids;
    params.biases = request.biases;
    std::vector<float> row = logits[r];
    const SampledToken expected = tessera::sample_token(row, params, exp_sum);
    CHECK_EQUAL(got_ids[r], expected.id);
    std::vector<double> expected_logprobs{expected.logprob};
    std::vector<float> row_logprobs{got_logprobs[r]};
    for (int i = 0; i < max_top; i++) {
      const bool is_told = static_cast<size_t>(i) < expected.top.size();
      CHECK_EQUAL(got_top[r * max_top + i], is_told ? expected.top[i].id : -1);
      if (is_told && std::isinf(expected.top[i].logprob)) {
        CHECK(std::isinf(got_top_logprobs[r * max_top + i]));
        continue;
      }
      expected_logprobs.push_back(is_told ? expected.top[i].logprob : 0);
      row_logprobs.push_back(got_top_logprobs[r * max_top + i]);
    }
    // Sums of exponentials in fp32.
    CHECK_NEAR(5e-6, row_logprobs, expected_logprobs);
  }
  // Bit for bit as they came.
  const auto after = device.read();
  CHECK(std::memcmp(after.data(), flat.data(), flat.size() * sizeof(float)) == 0);
}

/** Draws at positions 0, 1, .. in every way to cut, or in those from `first` on. */
void check_cuts(size_t vocab, float deviation, float temperature, size_t first = 0) {
  struct Cut {
    float top_p;
    int32_t top_k;
    float min_p;
  };
  const std::vector<Cut> cuts = {{1, 0, 0.05f}, {0.35f, 0, 0.01f}, {0.8f, 40, 0},   {1e-6f, 0, 0}, {1, 1, 0},
                                 {1, 7, 0},     {0.95f, 3, 0.2f},  {0.97f, 0, 0}, {1, 0, 0}};
  std::vector<Request> requests;
  std::vector<std::vector<float>> logits;
  for (size_t i = first; i < cuts.size(); i++) {
    requests.push_back({{.temperature = temperature, .top_p = cuts[i].top_p, .top_k = cuts[i].top_k, .seed = 11,
                         .position = i, .min_p = cuts[i].min_p}});
    logits.push_back(random_floats(vocab, deviation));
  }
  check_draws(logits, requests);
}

}  // namespace

TEST(draws_are_those_of_the_definition) {
  check_cuts(1, 1, 1, 5);
  check_cuts(2, 1, 0.5f, 3);
  check_cuts(37, 2, 2.5f);
  check_cuts(37, 2, 1);
  check_cuts(601, 3, 0.7f);
}

TEST(draws_from_more_candidates_than_there_is_room_for) { check_cuts(2999, 0.7f, 1, 7); }

TEST(draws_from_several_parts) { check_cuts(8193, 4, 1, 7); }

TEST(large_top_k_and_top_p_near_one) {
  const size_t vocab = 2777;
  check_draws({random_floats(vocab), random_floats(vocab)},
              {{{.temperature = 1, .top_p = 0.999f, .top_k = 2500, .seed = 2}},
               {{.temperature = 1, .top_k = 2777, .seed = 4}}});
}

TEST(equal_logits_are_told_apart_by_id) {
  std::vector<float> steps(300);
  for (size_t i = 0; i < steps.size(); i++) steps[i] = static_cast<float>(i % 3) - 1;  // both zeros among them
  steps[1] = -0.0f;
  std::vector<Request> requests;
  for (uint64_t position = 0; position < 4; position++) {
    requests.push_back({{.temperature = 1, .top_k = 50, .seed = 5, .position = position, .num_top = 5}});
    requests.push_back({{.temperature = 1, .top_p = 0.3f, .seed = 5, .position = position}});
  }
  requests.push_back({{.num_top = 120}});
  check_draws(std::vector<std::vector<float>>(requests.size(), steps), requests);
}

TEST(biases_and_penalties_come_first_and_leave_logprobs_alone) {
  const size_t vocab = 4200;
  std::vector<std::vector<float>> logits;
  std::vector<Request> requests;
  for (int r = 0; r < 5; r++) {
    logits.push_back(random_floats(vocab, 3));
    Request request = {{.temperature = r % 3 == 0 ? 0.0f : 0.8f, .top_p = r % 2 == 0 ? 1.0f : 0.9f, .seed = 3,
                        .position = static_cast<uint64_t>(r), .repetition_penalty = 1.3f,
                        .presence_penalty = r % 4 == 0 ? 0.5f : 0.0f, .frequency_penalty = 0.25f, .num_top = r * 3}};
    // The largest are among those seen and biased, some in both lists; ids in both parts.
    std::vector<int32_t> order(vocab);
    for (size_t i = 0; i < vocab; i++) order[i] = static_cast<int32_t>(i);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[r][a] > logits[r][b]; });
    for (int i = 0; i < 300; i++) {
      request.seen_ids.push_back(order[i * 2]);
      request.seen_counts.push_back(i % 4);
    }
    for (int i = 0; i < 40; i++) {
      request.bias_ids.push_back(order[i * 3]);
      request.biases.push_back(i % 5 == 0 ? -INFINITY : 0.3f * static_cast<float>(i % 7) - 1);
    }
    requests.push_back(request);
  }
  check_draws(logits, requests);
}

TEST(a_row_without_a_token_gives_none) {
  std::vector<float> row = random_floats(4200);
  std::vector<float> with_nan = row, with_infinity = row, all_minus(4200, -INFINITY), one_left = all_minus;
  with_nan[4150] = NAN;
  with_infinity[3] = INFINITY;
  one_left[4111] = -3;
  const Request greedy = {{.num_top = 3}};
  const Request drawn = {{.temperature = 1, .seed = 9, .num_top = 2}};
  Request banned = {{.temperature = 1, .seed = 9}};
  for (int i = 0; i < 4200; i++) {
    banned.bias_ids.push_back(i);
    banned.biases.push_back(-INFINITY);
  }
  check_draws({with_nan, with_nan, with_infinity, all_minus, one_left, one_left, row, row},
              {greedy, drawn, drawn, greedy, greedy, drawn, banned, drawn});
}

TEST(extreme_temperatures_draw_as_defined) {
  std::vector<std::vector<float>> logits;
  std::vector<Request> requests;
  for (const float temperature : {1e-45f, 1e-3f, 1e30f}) {
    for (const float top_p : {1.0f, 0.5f}) {
      logits.push_back(random_floats(133));
      requests.push_back({{.temperature = temperature, .top_p = top_p, .seed = 21}});
    }
  }
  check_draws(logits, requests);
}
