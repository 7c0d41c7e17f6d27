#include "device/warp.h"

#include <cstring>

#include "device/access.h"
#include "device/block.h"

namespace cuemu {

int lane() { return current->linear & 31; }

LaneValues& collect(unsigned mask, Collective what, const void* value, size_t bytes, Site site,
                    void (*last)(LaneValues&)) {
  Thread& self = *current;
  Block& block = *self.block;
  Warp& warp = block.warps[block.warp_of(self)];
  const int own = lane();
  if ((mask >> own & 1) == 0) fail("warp collective: the calling lane is not in its mask", site);
  if ((mask & ~warp.alive) != 0) fail("warp collective: the mask names lanes that have exited or do not exist", site);

  LaneGroup* group = nullptr;
  for (const auto& known : warp.groups) {
    if (known->mask == mask) group = known.get();
  }
  if (group == nullptr) {
    warp.groups.push_back(std::make_unique<LaneGroup>());
    group = warp.groups.back().get();
    group->mask = mask;
  }
  if (group->arrived == 0) {
    group->what = what;
    group->site = site;
  } else if (group->what != what) {
    fail("warp collective: lanes have diverged, others are at " + to_string(group->site), site);
  }

  LaneValues& values = group->values[group->turn];
  if (bytes > 0) std::memcpy(values[own], value, bytes);
  group->arrived |= 1u << own;
  if (group->arrived != mask) {
    wait_as(ThreadState::kInCollective, site);
    return values;
  }

  group->arrived = 0;
  group->turn ^= 1;
  if (last != nullptr) last(values);
  Thread* met[32];
  int num_met = 0;
  for (int other = 0; other < 32; other++) {
    if ((mask >> other & 1) == 0) continue;
    Thread& thread = block.threads[(self.linear & ~31) + other];
    met[num_met++] = &thread;
    if (other != own) block.wake(thread);
  }
  if (what == Collective::kSync) note_join(met, num_met);
  return values;
}

}  // namespace cuemu
