/**
 * Owns when work would run if every device took its own as early as order allows: on streams, behind events, beside other
 * devices. Units are of work, not of time (a kernel's threads, 64 multiply-adds of a product), so it tells what may
 * overlap and by how much at most, and nothing of speed.
 */
#pragma once

#include <vector>

namespace cuemu {

struct Timeline {
  struct Span {
    int device;
    double start, end;
  };
  bool is_on = false;
  std::vector<Span> spans;

  /** When the last work ends. */
  double makespan() const;
  /** How long two devices both work, in units. */
  double overlap(int device, int other) const;
};

/** Forgets what was noted before and notes from here on. Streams are to be empty. */
void start_timeline();
/** Notes no more. */
Timeline end_timeline();

}  // namespace cuemu
