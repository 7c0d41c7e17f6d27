#include "device/async_copy.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "device/access.h"

namespace cuemu {

namespace {
bool is_eager() {
  static const bool eager = [] {
    const char* mode = std::getenv("CUEMU_ASYNC");
    return mode != nullptr && std::string_view(mode) == "eager";
  }();
  return eager;
}
}  // namespace

void AsyncCopies::copy(void* target, const void* source, int total, int bytes, Site site) {
  const auto target_address = reinterpret_cast<uintptr_t>(target);
  const auto source_address = bytes > 0 ? reinterpret_cast<uintptr_t>(source) : 0;
  if ((target_address | source_address) % total != 0) fail("cp.async: address not a multiple of its size", site);
  // From here on the target belongs to the copy, whenever it lands.
  note_write(target, total, site);
  const Copy copy = {target, source, bytes, total - bytes};
  if (is_eager()) land(copy);
  else open_.push_back(copy);
}

void AsyncCopies::commit() {
  groups_.push_back(std::move(open_));
  open_.clear();
}

void AsyncCopies::wait(size_t num_open) {
  while (groups_.size() > num_open) {
    for (const Copy& copy : groups_.front()) land(copy);
    groups_.erase(groups_.begin());
  }
}

bool AsyncCopies::in_flight() const {
  for (const auto& group : groups_) {
    if (!group.empty()) return true;
  }
  return !open_.empty();
}

void AsyncCopies::clear() {
  open_.clear();
  groups_.clear();
}

void AsyncCopies::land(const Copy& copy) {
  const Site site = {"cp.async", 0};
  if (copy.bytes > 0) note_read(copy.source, copy.bytes, site);
  note_write(copy.target, copy.bytes + copy.zeros, site);
  std::memcpy(copy.target, copy.source, copy.bytes);
  std::memset(static_cast<char*>(copy.target) + copy.bytes, 0, copy.zeros);
}

}  // namespace cuemu
