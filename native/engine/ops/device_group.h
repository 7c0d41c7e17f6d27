/** Owns what the devices that hold one model together do with each other; a backend has one for several devices. */
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "ops/ops.h"

namespace tessera {

class DeviceGroup {
 public:
  virtual ~DeviceGroup() = default;
  /**
   * Sums up: each x[i], fp32 rows on device i without gaps and all of one shape, becomes the sum of all, the same bits
   * on every device.
   */
  virtual void all_reduce(std::span<const Rows> x) = 0;
  /** Gives all devices the token ids of a step that the first one alone has, from its draws (`StepLayout::ids_from`). */
  virtual void share_ids() {}
  /** `Ops::repeat` of work for all devices. */
  virtual void repeat(const std::function<void()>& body) = 0;
};

/** One device has nothing to sum up. */
class LoneDevice final : public DeviceGroup {
 public:
  explicit LoneDevice(Ops& ops) : ops_(ops) {}
  void all_reduce(std::span<const Rows>) override {}
  void repeat(const std::function<void()>& body) override { ops_.repeat(body); }

 private:
  Ops& ops_;
};

}  // namespace tessera
