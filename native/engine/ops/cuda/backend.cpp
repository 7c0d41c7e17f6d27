/** Owns the CUDA backend's place in the build: linked in, it registers itself and says what a machine lacks for it. */
#include "ops/backend.h"

#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "ops/cuda/blas/cublaslt.h"
#include "ops/cuda/cuda_error.h"
#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/nccl/nccl_group.h"

namespace tessera::cuda {

namespace {

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

void check() {
  const std::string action = "open the engine";
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  int driver = 0;
  if (error == cudaErrorInsufficientDriver) {
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
      refuse(action, "device is cuda and no NVIDIA driver is installed", "one for CUDA " + version_text(CUDART_VERSION) +
             " (580 or newer), or device cpu");
    }
    refuse(action, "device is cuda and the NVIDIA driver is for CUDA " + version_text(driver),
           "one for CUDA " + version_text(CUDART_VERSION) + " or newer, or device cpu");
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    refuse(action, "device is cuda and there is no NVIDIA GPU", "one, or device cpu");
  }
  if (error != cudaSuccess) refuse(action, std::string("device is cuda and CUDA says ") + cudaGetErrorString(error), "a GPU");
  (void)lt::library();
}

std::unique_ptr<Ops> make_ops(Dtype base, int index) {
  if (base != Dtype::kBf16) refuse("open the engine", "dtype is not bf16 on device cuda", "bf16, or device cpu");
  int count = 0;
  must(cudaGetDeviceCount(&count), "count devices");
  if (index >= count) {
    refuse("open the engine", "the machine has " + std::to_string(count) + " GPUs", std::to_string(index + 1) + " or more");
  }
  return std::make_unique<CudaOps>(index);
}

std::unique_ptr<DeviceGroup> make_group(std::span<Ops* const> devices) {
  std::vector<CudaOps*> members;
  for (Ops* device : devices) members.push_back(static_cast<CudaOps*>(device));
  return std::make_unique<NcclGroup>(std::move(members));
}

const Backend kBackend = {.check = check, .make_ops = make_ops, .make_group = make_group};
const CudaRegistration kRegistration(&kBackend);

}  // namespace

}  // namespace tessera::cuda
