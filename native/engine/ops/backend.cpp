#include "ops/backend.h"

namespace tessera {

namespace {

/** Set by static initialisers of other files: a constant until then. */
constinit const Backend* cuda = nullptr;

}  // namespace

const Backend* cuda_backend() { return cuda; }

CudaRegistration::CudaRegistration(const Backend* backend) { cuda = backend; }

}  // namespace tessera
