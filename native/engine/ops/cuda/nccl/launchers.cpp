#include "ops/cuda/nccl/launchers.h"

#include <utility>

namespace tessera::cuda {

Launchers::Launchers(int count) {
  for (int i = 0; i < count; i++) threads_.emplace_back([this, i] { serve(i); });
}

Launchers::~Launchers() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Launchers::run(const std::function<void(int)>& work) {
  std::unique_lock lock(mutex_);
  work_ = &work;
  num_running_ = static_cast<int>(threads_.size());
  round_++;
  changed_.notify_all();
  changed_.wait(lock, [&] { return num_running_ == 0; });
  if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Launchers::serve(int index) {
  uint64_t served = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return is_over_ || round_ > served; });
    if (is_over_) return;
    served = round_;
    lock.unlock();
    std::exception_ptr error;
    try {
      (*work_)(index);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error != nullptr) error_ = error;
    if (--num_running_ == 0) changed_.notify_all();
  }
}

}  // namespace tessera::cuda
