/** Owns what AWQ's made-up packed weights stand for; written by tests/golden/quant/make_awq_goldens.py. */
#pragma once

#include <cstdint>
#include <vector>

namespace tessera::tests {

/** Weights [outputs][inputs] of the seed's words as fp16, and these rounded to bf16: FNV-1a hashes. */
struct GoldenAwq {
  uint64_t seed;
  size_t outputs, inputs, group;
  uint64_t fp16, bf16;
};

inline const std::vector<GoldenAwq> kGoldensAwq = {
    {1, 8, 64, 64, 0xc0da5f73e622de00u, 0x0a79b8447d947f07u},
    {2, 40, 256, 128, 0x92ed4e7951680aa5u, 0x94fda85e3653d223u},
    {3, 72, 384, 64, 0xa16e28982d718560u, 0x5895d9ff91dd0c8cu},
    {4, 64, 512, 256, 0xc2eb5d85bb355856u, 0xed5ccf9c42121d26u},
};

}  // namespace tessera::tests
