#include "device/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define CUEMU_ASAN 1
#endif

#if !defined(__x86_64__)
#error "the emulator switches stacks in x86-64 assembly; other processors need their own cuemu_switch"
#endif

/** Saves callee-saved registers and floating point control on the stack at hand, `*from` = its pointer, and goes to `to`. */
extern "C" void cuemu_switch(void** from, void* to);
asm(R"(
.text
.globl cuemu_switch
.type cuemu_switch,@function
cuemu_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  subq $8,%rsp; stmxcsr (%rsp); fnstcw 4(%rsp)
  movq %rsp,(%rdi); movq %rsi,%rsp
  ldmxcsr (%rsp); fldcw 4(%rsp); addq $8,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size cuemu_switch,.-cuemu_switch
)");

namespace cuemu {

namespace {
constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kGuardBytes = 4096;
// Control words of a fresh thread: round to nearest, no traps.
constexpr uint32_t kMxcsr = 0x1F80;
constexpr uint32_t kX87Control = 0x037F;
// The fiber that is being started; it cannot be passed through the switch.
thread_local Fiber* starting = nullptr;
}  // namespace

Fiber::~Fiber() {
  if (stack_ != nullptr) munmap(stack_, kStackBytes);
}

void Fiber::prepare(Entry entry, void* argument) {
  if (stack_ == nullptr) {
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, kGuardBytes, PROT_NONE);
    stack_ = static_cast<char*>(memory);
    own_ = stack_ + kGuardBytes;  // whatever was mapped here before
  }
#ifdef CUEMU_ASAN
  // What lies below where the fiber was left its functions have given up themselves.
  __asan_unpoison_memory_region(own_, static_cast<size_t>(stack_ + kStackBytes - static_cast<char*>(own_)));
#endif
  entry_ = entry;
  argument_ = argument;
  // What cuemu_switch pops: control words, six registers, where to go; above it a return address nobody returns to.
  void** top = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fiber::start);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  *--top = reinterpret_cast<void*>(uint64_t{kX87Control} << 32 | kMxcsr);
  own_ = top;
  own_fake_ = nullptr;
}

void Fiber::start() {
  Fiber* fiber = starting;
#ifdef CUEMU_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &fiber->owner_stack_, &fiber->owner_stack_bytes_);
#endif
  fiber->entry_(fiber->argument_);
  __builtin_unreachable();
}

void Fiber::resume() {
  starting = this;
#ifdef CUEMU_ASAN
  __sanitizer_start_switch_fiber(&owner_fake_, stack_, kStackBytes);
#endif
  cuemu_switch(&owner_, own_);
#ifdef CUEMU_ASAN
  __sanitizer_finish_switch_fiber(owner_fake_, nullptr, nullptr);
#endif
}

void Fiber::leave([[maybe_unused]] bool for_ever) {
#ifdef CUEMU_ASAN
  __sanitizer_start_switch_fiber(for_ever ? nullptr : &own_fake_, owner_stack_, owner_stack_bytes_);
#endif
  cuemu_switch(&own_, owner_);
#ifdef CUEMU_ASAN
  __sanitizer_finish_switch_fiber(own_fake_, &owner_stack_, &owner_stack_bytes_);
#endif
}

void Fiber::yield() { leave(false); }

void Fiber::yield_forever() {
  leave(true);
  __builtin_unreachable();
}

}  // namespace cuemu
