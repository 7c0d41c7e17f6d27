/** Owns tests of tokens that go from one step's draws into the next: in their places, and counted in the right lists. */
#include "ops/cuda/tests/support.h"

using namespace tessera::cuda;
using namespace tessera::cuda::tests;

TEST(drawn_ids_go_to_their_tokens_and_nowhere_else) {
  for (const int num_tokens : {1, 5, 128, 129, 300}) {
    std::vector<int32_t> from(num_tokens), ids(num_tokens);
    const std::vector<int32_t> drawn = {40, -1, 60, 7};
    for (int t = 0; t < num_tokens; t++) {
      from[t] = t % 6 < 4 ? (t + 2) % 4 : -1;
      ids[t] = 1000 + t;
    }
    Array<int32_t> device_drawn(drawn), device_from(from), device_ids(ids);
    must(feed_ids(device_drawn.data(), device_from.data(), num_tokens, device_ids.data(), nullptr));
    std::vector<int32_t> expected = ids;
    for (int t = 0; t < num_tokens; t++) {
      if (from[t] >= 0) expected[t] = drawn[from[t]] < 0 ? 0 : drawn[from[t]];  // what could not be drawn stays in the table
    }
    CHECK(device_ids.read() == expected);
  }
}

TEST(drawn_ids_are_counted_in_their_rows_lists) {
  // Rows: a long list that has the id, one that has it not, one without others, one that is fed nothing, one that failed.
  const std::vector<int32_t> drawn = {77, 13, -1};
  const std::vector<int32_t> from = {0, 1, 1, -1, 2};
  std::vector<SamplingRow> rows(5);
  std::vector<int32_t> ids = {13, 77};  // nobody's: in front of the first list
  std::vector<int32_t> counts = {5, 5};
  const auto list = [&](int row, int size, int skip) {
    rows[row].first_seen = static_cast<int32_t>(ids.size());
    for (int i = 0; i < size; i++) {
      ids.push_back(i == skip ? 1000 : i);
      counts.push_back(i % 3);
    }
    if (from[row] >= 0) {
      ids.push_back(-1);
      counts.push_back(0);
    }
    rows[row].num_seen = static_cast<int32_t>(ids.size()) - rows[row].first_seen;
  };
  list(0, 300, -1);
  list(1, 200, 13);
  list(2, 0, 0);
  list(3, 20, -1);
  list(4, 20, -1);
  ids.push_back(77);
  counts.push_back(5);
  std::vector<int32_t> expected_ids = ids, expected_counts = counts;
  expected_counts[rows[0].first_seen + 77] += 1;
  for (const int row : {1, 2}) {
    expected_ids[rows[row].first_seen + rows[row].num_seen - 1] = 13;
    expected_counts[rows[row].first_seen + rows[row].num_seen - 1] = 1;
  }
  Array<int32_t> device_drawn(drawn), device_from(from), device_ids(ids), device_counts(counts);
  Array<SamplingRow> device_rows(rows);
  must(feed_seen(device_drawn.data(), device_from.data(), device_rows.data(), 5, device_ids.data(), device_counts.data(),
                 nullptr));
  CHECK(device_ids.read() == expected_ids);
  CHECK(device_counts.read() == expected_counts);
}
