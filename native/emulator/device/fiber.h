/** Owns a stack that runs on until it yields: one CUDA thread. Switching costs some nanoseconds and no system call. */
#pragma once

#include <cstddef>

namespace cuemu {

class Fiber {
 public:
  using Entry = void (*)(void*);

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  /** The next `resume` starts `entry(argument)`, whatever ran here before. `entry` must end in `yield_forever`. */
  void prepare(Entry entry, void* argument);
  /** Runs the fiber until it yields. Called on the stack that owns it, always on the same OS thread. */
  void resume();
  /** Back to whoever resumed. Called on the fiber's own stack. */
  void yield();
  /** As `yield`, for a fiber that is not resumed again before the next `prepare`. */
  [[noreturn]] void yield_forever();

 private:
  static void start();
  void leave(bool for_ever);

  char* stack_ = nullptr;
  void* own_ = nullptr;     // saved stack pointer of the fiber
  void* owner_ = nullptr;   // and of the stack that resumed it
  Entry entry_ = nullptr;
  void* argument_ = nullptr;
  // For the address sanitizer, which keeps track of stacks.
  void* own_fake_ = nullptr;
  void* owner_fake_ = nullptr;
  const void* owner_stack_ = nullptr;
  size_t owner_stack_bytes_ = 0;
};

}  // namespace cuemu
