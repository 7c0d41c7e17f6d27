/** Owns a thread for each device of a group, which do the same thing at once while the caller waits. */
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tessera::cuda {

class Launchers {
 public:
  explicit Launchers(int count);
  ~Launchers();
  Launchers(const Launchers&) = delete;
  Launchers& operator=(const Launchers&) = delete;

  /** Runs work(0 .. count - 1), each on its own thread; throws what one of them threw. */
  void run(const std::function<void(int)>& work);

 private:
  void serve(int index);

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(int)>* work_ = nullptr;
  uint64_t round_ = 0;
  int num_running_ = 0;
  bool is_over_ = false;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace tessera::cuda
