/** Owns the proof that steps run in order, that errors come back, and that an owner may go at any time. */
#include "addon/step_thread.h"

#include <future>
#include <optional>
#include <stdexcept>
#include <vector>

#include "tests/check.h"

namespace {

using tessera::addon::StepThread;

TEST(step_thread_runs_in_order_and_hands_errors_on) {
  StepThread thread;
  std::vector<int> order;
  std::vector<std::future<int>> outcomes;
  for (int i = 0; i < 100; i++) {
    outcomes.push_back(thread.run([i, &order] {
      if (i == 50) throw std::runtime_error("fifty");
      order.push_back(i);
      return i;
    }));
  }
  for (int i = 0; i < 100; i++) {
    if (i == 50) {
      bool has_thrown = false;
      try {
        outcomes[i].get();
      } catch (const std::runtime_error&) {
        has_thrown = true;
      }
      CHECK(has_thrown);
    } else {
      CHECK_EQUAL(outcomes[i].get(), i);
    }
  }
  CHECK_EQUAL(order.size(), 99u);
  for (size_t i = 1; i < order.size(); i++) CHECK(order[i - 1] < order[i]);
}

TEST(step_thread_ends_what_runs_and_drops_what_waits_when_its_owner_goes) {
  std::promise<void> began, may_end;
  std::optional<StepThread> thread(std::in_place);
  auto running = thread->run([&] {
    began.set_value();
    may_end.get_future().wait();
    return 1;
  });
  auto waiting = thread->run([] { return 2; });
  began.get_future().wait();
  thread.reset();
  may_end.set_value();
  CHECK_EQUAL(running.get(), 1);
  bool was_dropped = false;
  try {
    waiting.get();
  } catch (const std::future_error&) {
    was_dropped = true;
  }
  CHECK(was_dropped);
}

}  // namespace
