/** Owns virtual devices of the CPU as a group: the plain truth of what a group of GPUs computes. */
#pragma once

#include "ops/device_group.h"

namespace tessera::cpu {

/** Sums in the order of devices, one element after the other. */
class CpuGroup final : public DeviceGroup {
 public:
  void all_reduce(std::span<const Rows> x) override;
  void repeat(const std::function<void()>& body) override { body(); }
};

}  // namespace tessera::cpu
