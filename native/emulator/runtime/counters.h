/** Owns what the emulator counts of a program, so that tests can say what a step may not do. */
#pragma once

#include <cstdint>

namespace cuemu {

struct Counters {
  uint64_t allocations = 0;         // of device memory
  uint64_t pinned_allocations = 0;
  uint64_t frees = 0;               // of either, which wait for the device
  uint64_t waits = 0;               // of the host for work that was not done
  uint64_t launches = 0;            // of kernels and graphs; those inside a graph are not counted
  uint64_t products = 0;            // of cuBLASLt that ran
  uint64_t slow_products = 0;       // of them, not by the algorithm that is the quickest
};

/** Since the program began. */
Counters counters();

/** Whether this is the build in which each byte is watched. */
bool watches_races();

}  // namespace cuemu
