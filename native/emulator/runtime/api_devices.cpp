/** Owns the runtime's calls about devices: how many, which, what they are, who reaches whose memory. */
#include <cstring>

#include "runtime/runtime.h"

using cuemu::remember;
using cuemu::Runtime;

namespace {
constexpr int kNumSms = 4;  // few: split-KV and grids stay small here
}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = Runtime::instance().num_devices();
  return *count == 0 ? remember(cudaErrorNoDevice) : cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= Runtime::instance().num_devices()) return remember(cudaErrorInvalidDevice);
  Runtime::device() = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = Runtime::device();
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device < 0 || device >= Runtime::instance().num_devices()) return remember(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = kNumSms; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *value = Runtime::capability() / 10; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = Runtime::capability() % 10; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = cuemu::SharedMemory::kMaxBytes; return cudaSuccess;
    case cudaDevAttrL2CacheSize: *value = 50 << 20; return cudaSuccess;
    default: return remember(cudaErrorInvalidValue);
  }
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= Runtime::instance().num_devices()) return remember(cudaErrorInvalidDevice);
  std::memset(properties, 0, sizeof *properties);
  std::strcpy(properties->name, "CPU emulator");
  properties->major = Runtime::capability() / 10;
  properties->minor = Runtime::capability() % 10;
  properties->multiProcessorCount = kNumSms;
  properties->totalGlobalMem = cuemu::Memory::capacity();
  properties->sharedMemPerBlockOptin = cuemu::SharedMemory::kMaxBytes;
  properties->warpSize = 32;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = Runtime::instance().num_devices() == 0 ? 0 : 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  const int count = Runtime::instance().num_devices();
  if (device < 0 || device >= count || peer < 0 || peer >= count) return remember(cudaErrorInvalidDevice);
  *can = device != peer;
  return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (peer < 0 || peer >= runtime.num_devices() || peer == Runtime::device()) return remember(cudaErrorInvalidDevice);
  if (runtime.memory.has_peer(Runtime::device(), peer)) return remember(cudaErrorPeerAccessAlreadyEnabled);
  runtime.memory.enable_peer(Runtime::device(), peer);
  return cudaSuccess;
}

}  // extern "C"
