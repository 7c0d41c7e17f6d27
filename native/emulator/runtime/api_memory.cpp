/** Owns the runtime's calls about memory: cudaMalloc, cudaMemcpy and their kin, as libcudart has them. */
#include <cstring>
#include <vector>

#include "device/access.h"
#include "runtime/runtime.h"

using cuemu::Memory;
using cuemu::remember;
using cuemu::Runtime;

namespace {

struct Place {
  int device;  // -1: host memory
  bool is_pinned;
};

Place place_of(Runtime& runtime, const void* at, size_t bytes) {
  return {runtime.memory.device_of(at, bytes), runtime.memory.is_pinned(at)};
}

bool fits(cudaMemcpyKind kind, Place target, Place source) {
  if (kind == cudaMemcpyDefault) return true;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return (target.device >= 0) == to_device && (source.device >= 0) == from_device;
}

/** memcpy between any two places, as the copy engine may. */
void move(void* target, const void* source, size_t bytes) {
  Runtime& runtime = Runtime::instance();
  const int to = runtime.memory.device_of(target, bytes);
  const int from = runtime.memory.device_of(source, bytes);
  const Memory::Access own(runtime.memory, to >= 0 ? to : from);
  if (from >= 0 && to >= 0 && from != to) {
    const Memory::Access other(runtime.memory, from);
    std::memcpy(target, source, bytes);
  } else {
    std::memcpy(target, source, bytes);
  }
  if (to >= 0) cuemu::note_host_write(target, bytes);
}

cudaError_t copy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream,
                 bool waits) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (bytes == 0) return cudaSuccess;
  const Place to = place_of(runtime, target, bytes);
  const Place from = place_of(runtime, source, bytes);
  if (!fits(kind, to, from)) {
    cuemu::warn("cudaMemcpy: the kind does not fit the pointers, or they reach beyond their allocation");
    return remember(cudaErrorInvalidValue);
  }
  const bool is_captured = stream != nullptr && stream->capture != nullptr;
  const bool pageable = (to.device < 0 && !to.is_pinned) || (from.device < 0 && !from.is_pinned);
  if (is_captured && (pageable || waits)) {
    stream->capture->is_invalid = true;
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  if (from.device < 0 && !from.is_pinned && !waits) {
    // The source is staged before the call returns; the copy itself comes in its turn.
    std::vector<char> staged(static_cast<const char*>(source), static_cast<const char*>(source) + bytes);
    return runtime.enqueue(stream, {[target, staged = std::move(staged)] {
      move(target, staged.data(), staged.size());
    }, {}});
  }
  const cudaError_t error = runtime.enqueue(stream, {[=] { move(target, source, bytes); }, {}});
  // Into pageable memory the call returns when the copy is done.
  if (error == cudaSuccess && stream != nullptr && !is_captured && (waits || pageable)) runtime.drain(stream);
  return error;
}

cudaError_t set(void* target, int value, size_t bytes, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  const int device = runtime.memory.device_of(target, bytes);
  if (device < 0) return remember(cudaErrorInvalidValue);
  return runtime.enqueue(stream, {[=] {
    const Memory::Access access(Runtime::instance().memory, device);
    std::memset(target, value, bytes);
    cuemu::note_host_write(target, bytes);
  }, {}});
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** at, size_t bytes) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  *at = nullptr;
  if (Runtime::device() >= runtime.num_devices()) return remember(cudaErrorNoDevice);
  if (runtime.spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (bytes == 0) return cudaSuccess;
  runtime.counters.allocations++;
  *at = runtime.memory.allocate(Runtime::device(), bytes);
  return *at == nullptr ? remember(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFree(void* at) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (at == nullptr) return cudaSuccess;
  if (runtime.spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  const int device = runtime.memory.device_of(at, 0);
  if (device < 0) return remember(cudaErrorInvalidValue);
  runtime.counters.frees++;
  runtime.drain_device(device);
  return runtime.memory.free(at) ? cudaSuccess : remember(cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void** at, size_t bytes) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  *at = nullptr;
  if (runtime.spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  runtime.counters.pinned_allocations++;
  *at = runtime.memory.allocate_pinned(bytes);
  return *at == nullptr ? remember(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaHostAlloc(void** at, size_t bytes, unsigned) { return cudaMallocHost(at, bytes); }

cudaError_t cudaFreeHost(void* at) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (at == nullptr) return cudaSuccess;
  if (runtime.spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  runtime.counters.frees++;
  for (int device = 0; device < runtime.num_devices(); device++) runtime.drain_device(device);
  return runtime.memory.free_pinned(at) ? cudaSuccess : remember(cudaErrorInvalidValue);
}

cudaError_t cudaHostRegister(void* at, size_t bytes, unsigned) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (runtime.spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  runtime.memory.pin(at, bytes);
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* at) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  return runtime.memory.unpin(at) ? cudaSuccess : remember(cudaErrorInvalidValue);
}

cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  return copy(target, source, bytes, kind, nullptr, true);
}
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return copy(target, source, bytes, kind, stream, false);
}
cudaError_t cudaMemcpyPeerAsync(void* target, int to, const void* source, int from, size_t bytes, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (runtime.memory.device_of(target, bytes) != to || runtime.memory.device_of(source, bytes) != from) {
    return remember(cudaErrorInvalidValue);
  }
  return copy(target, source, bytes, cudaMemcpyDeviceToDevice, stream, false);
}
/** Of plain memory, one plane of rows with gaps, without offsets: what the engine asks for. */
cudaError_t cudaMemcpy3DPeerAsync(const cudaMemcpy3DPeerParms* asked, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  const cudaPitchedPtr& from = asked->srcPtr;
  const cudaPitchedPtr& to = asked->dstPtr;
  const auto [width, height, depth] = asked->extent;
  const auto is_zero = [](const cudaPos& at) { return at.x == 0 && at.y == 0 && at.z == 0; };
  if (asked->srcArray != nullptr || asked->dstArray != nullptr || depth != 1 || !is_zero(asked->srcPos) ||
      !is_zero(asked->dstPos)) {
    cuemu::warn("cudaMemcpy3DPeerAsync: arrays, offsets and depth are not emulated");
    return remember(cudaErrorInvalidValue);
  }
  if (width == 0 || height == 0) return cudaSuccess;
  if (from.pitch < width || to.pitch < width) return remember(cudaErrorInvalidPitchValue);
  const auto is_on = [&](const cudaPitchedPtr& at, int device) {
    return device >= 0 && runtime.memory.device_of(at.ptr, (height - 1) * at.pitch + width) == device;
  };
  if (!is_on(to, asked->dstDevice) || !is_on(from, asked->srcDevice)) return remember(cudaErrorInvalidValue);
  return runtime.enqueue(stream, {[to, from, width = width, height = height] {
    for (size_t row = 0; row < height; row++) {
      move(static_cast<char*>(to.ptr) + row * to.pitch, static_cast<const char*>(from.ptr) + row * from.pitch, width);
    }
  }, {}});
}
cudaError_t cudaMemset(void* target, int value, size_t bytes) { return set(target, value, bytes, nullptr); }
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  return set(target, value, bytes, stream);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (Runtime::device() >= runtime.num_devices()) return remember(cudaErrorNoDevice);
  *total = Memory::capacity();
  *free = *total - runtime.memory.used(Runtime::device());
  return cudaSuccess;
}

}  // extern "C"
