/** Owns which devices beside the CPU this build has. A backend registers itself where it is linked in. */
#pragma once

#include <memory>

#include "ops/ops.h"

namespace tessera {

/** What opens devices of one kind. */
struct Backend {
  /** Throws an Error that says what the machine lacks for this kind of device. */
  void (*check)();
  /** Device `index`, with 16-bit or 32-bit values as its own type; null where `check` throws whatever the machine has. */
  std::unique_ptr<Ops> (*make_ops)(Dtype base, int index);
};

/** The CUDA backend, or null in a build without it. */
const Backend* cuda_backend();

/** For the backend alone, before anything is opened; `backend` lives for ever. */
struct CudaRegistration {
  explicit CudaRegistration(const Backend* backend);
};

}  // namespace tessera
