/** Owns the thread that an engine's steps and tiles run on, one after the other in the order they came. */
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace tessera::addon {

/**
 * A step that is in line begins where the one before ends, with no thread to be woken between them; one that comes soon
 * behind the last finds the thread awake. Its owner does not wait for it: what runs when the owner goes is finished, and
 * what waits is dropped.
 */
class StepThread {
 public:
  StepThread() = default;
  ~StepThread() {
    {
      const std::lock_guard lock(state_->mutex);
      state_->is_over = true;
    }
    state_->changed.notify_all();
  }
  StepThread(const StepThread&) = delete;
  StepThread& operator=(const StepThread&) = delete;

  /**
   * What `work` returns or throws, after all that came before; `std::future_error` where it was dropped. From one thread.
   * Throws `std::system_error` where no thread can be had.
   */
  template <class Work>
  auto run(Work&& work) -> std::future<decltype(work())> {
    auto task = std::make_shared<std::packaged_task<decltype(work())()>>(std::forward<Work>(work));
    auto outcome = task->get_future();
    // Not before it is needed, so that a machine that has no thread to give says so in answer to a call.
    if (!std::exchange(has_begun_, true)) begin();
    {
      const std::lock_guard lock(state_->mutex);
      state_->tasks.emplace_back([task = std::move(task)] { (*task)(); });
      state_->has_tasks = true;
    }
    state_->changed.notify_all();
    return outcome;
  }

 private:
  /** How long it stays awake after a step: longer than it takes until the next one comes, where one comes at all. */
  static constexpr std::chrono::microseconds kAwake{500};

  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> tasks;
    std::atomic<bool> has_tasks = false;
    std::atomic<bool> is_over = false;
  };

  void begin() {
    try {
      std::thread([state = state_] { serve(*state); }).detach();
    } catch (...) {
      has_begun_ = false;
      throw;
    }
  }

  static void serve(State& state) {
    for (bool has_run = false;; has_run = true) {
      const auto end = std::chrono::steady_clock::now() + kAwake;
      while (has_run && !state.has_tasks && !state.is_over && std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
      }
      std::function<void()> task;
      {
        std::unique_lock lock(state.mutex);
        state.changed.wait(lock, [&] { return state.is_over || !state.tasks.empty(); });
        if (state.is_over) {
          state.tasks.clear();
          return;
        }
        task = std::move(state.tasks.front());
        state.tasks.pop_front();
        state.has_tasks = !state.tasks.empty();
      }
      task();
    }
  }

  const std::shared_ptr<State> state_ = std::make_shared<State>();
  bool has_begun_ = false;
};

}  // namespace tessera::addon
