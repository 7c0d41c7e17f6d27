/** Owns a warp's collectives: lanes put a value each, and get all of them when the last one has come. */
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device/report.h"

namespace cuemu {

/** Which collective; lanes that meet in different ones have diverged. */
enum class Collective : uint8_t {
  kSync, kShuffle, kShuffleXor, kShuffleDown, kShuffleUp, kBallot, kReduce, kMma, kMatrixLoad, kMatrixLoadTransposed
};

/** What each lane put, up to 64 bytes. */
using LaneValues = unsigned char[32][64];

/** Lanes that call collectives together, by their mask. */
struct LaneGroup {
  unsigned mask = 0;
  unsigned arrived = 0;
  Collective what = Collective::kSync;
  Site site;
  int turn = 0;  // two buffers in turns: a fast lane may start the next collective while a slow one reads
  alignas(16) LaneValues values[2];
};

struct Warp {
  unsigned alive = 0;
  std::vector<std::unique_ptr<LaneGroup>> groups;
};

/**
 * Meets the other lanes of `mask`. `last`, if there is one, is run once on all values when the last lane has come.
 * @return what each lane put; valid until this lane's next collective but one
 */
LaneValues& collect(unsigned mask, Collective what, const void* value, size_t bytes, Site site,
                    void (*last)(LaneValues&) = nullptr);

/** Lane of the thread at hand. */
int lane();

}  // namespace cuemu
