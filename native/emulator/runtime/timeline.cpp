#include "runtime/timeline.h"

#include <algorithm>
#include <utility>

#include "runtime/runtime.h"

namespace cuemu {

double Timeline::makespan() const {
  double end = 0;
  for (const Span& span : spans) end = std::max(end, span.end);
  return end;
}

double Timeline::overlap(int device, int other) const {
  double sum = 0;
  for (const Span& a : spans) {
    if (a.device != device) continue;
    for (const Span& b : spans) {
      if (b.device == other) sum += std::max(0.0, std::min(a.end, b.end) - std::max(a.start, b.start));
    }
  }
  return sum;
}

void start_timeline() {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  runtime.timeline = {.is_on = true, .spans = {}};
  runtime.epoch++;
}

Timeline end_timeline() {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  return std::exchange(runtime.timeline, {});
}

}  // namespace cuemu
