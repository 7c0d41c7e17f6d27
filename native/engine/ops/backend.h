/** Owns which devices beside the CPU this build has. A backend registers itself where it is linked in. */
#pragma once

#include <memory>

#include "ops/device_group.h"
#include "ops/ops.h"

namespace tessera {

/** What opens devices of one kind. */
struct Backend {
  /** Throws an Error that says what the machine lacks for this kind of device. */
  void (*check)();
  /** Device `index`, whose own type is `base`: a 16-bit or 32-bit one. Throws where it cannot be had. */
  std::unique_ptr<Ops> (*make_ops)(Dtype base, int index);
  /** Several of those, each its own device, which outlive the group. */
  std::unique_ptr<DeviceGroup> (*make_group)(std::span<Ops* const> devices);
};

/** The CUDA backend, or null in a build without it. */
const Backend* cuda_backend();

/** For the backend alone, before anything is opened; `backend` lives for ever. */
struct CudaRegistration {
  explicit CudaRegistration(const Backend* backend);
};

}  // namespace tessera
