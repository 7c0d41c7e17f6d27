/** Owns a checksum of large memory, at about the speed of reading it: against damage, not against forgery. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tessera {

/** 64 bits. Each step keeps apart what it gets, so that a change within one word never goes unseen. */
inline uint64_t checksum(const void* data, size_t bytes, uint64_t seed = 0) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;
  constexpr int kLanes = 8;  // as many as hide the latency of a product
  const auto step = [](uint64_t lane, uint64_t word) {
    lane = (lane ^ word) * kOdd;
    return lane << 29 | lane >> 35;  // a product carries upwards only
  };
  uint64_t lanes[kLanes];
  for (int i = 0; i < kLanes; i++) lanes[i] = seed + kOdd * static_cast<uint64_t>(i + 1);
  const char* at = static_cast<const char*>(data);
  size_t left = bytes;
  for (; left >= sizeof lanes; left -= sizeof lanes, at += sizeof lanes) {
    uint64_t words[kLanes];
    std::memcpy(words, at, sizeof words);
    for (int i = 0; i < kLanes; i++) lanes[i] = step(lanes[i], words[i]);
  }
  uint64_t last[kLanes] = {};
  if (left > 0) std::memcpy(last, at, left);
  uint64_t sum = bytes;
  for (int i = 0; i < kLanes; i++) sum = step(sum, step(lanes[i], last[i]));
  sum = (sum ^ sum >> 32) * kOdd;
  return sum ^ sum >> 29;
}

}  // namespace tessera
