/** Owns how much a fuzzing test does, and damage to bytes as files and strangers do it. */
#pragma once

#include <cstdint>
#include <string>

#include "tests/support.h"

namespace tessera::tests {

/** TESSERA_FUZZ_CASES, else a few thousand. */
size_t fuzz_cases();
/** TESSERA_FUZZ_SEED, else 1. */
uint64_t fuzz_seed();

/** `bytes` with some of: bits turned, parts cut, doubled or swapped, numbers replaced by those that break sums. */
std::string damaged(std::string bytes, Random& random);

}  // namespace tessera::tests
