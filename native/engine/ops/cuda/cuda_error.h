/** Owns how a failed CUDA call becomes the engine's `Error`. */
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "tessera/error.h"

namespace tessera::cuda {

/** Throws where a call failed. `action` completes "Cannot ... on the GPU". */
inline void must(cudaError_t error, const char* action) {
  if (error == cudaSuccess) return;
  // A call's own error is not to be found again by the next launch; one that broke the context stays anyhow.
  (void)cudaGetLastError();
  const char* expected = error == cudaErrorMemoryAllocation ? "more device memory, a smaller KV cache or fewer tile slots"
                                                            : "success";
  refuse(std::string(action) + " on the GPU", cudaGetErrorString(error), expected);
}

/** A mistake of ours, not of the caller. */
inline void expects(bool holds, const char* what) {
  if (!holds) throw std::logic_error(std::string("Cannot run an operation on the GPU: expected ") + what);
}

}  // namespace tessera::cuda
