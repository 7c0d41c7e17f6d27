#include "runtime/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace cuemu {

namespace {
thread_local cudaError_t last_error = cudaSuccess;
}

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

Runtime& Runtime::instance() {
  static Runtime* runtime = new Runtime;  // never ends: streams may outlive other statics
  return *runtime;
}

Runtime::Runtime() : num_devices_(static_cast<int>(setting("CUEMU_DEVICES", 1))) {
  const char* mode = std::getenv("CUEMU_STREAMS");
  is_eager_ = mode != nullptr && std::string_view(mode) == "eager";
  random_ = static_cast<uint64_t>(setting("CUEMU_SEED", 0)) * 0x9E3779B97F4A7C15u;
}

int Runtime::capability() { return static_cast<int>(setting("CUEMU_ARCH", 90)); }

int& Runtime::device() {
  static thread_local int device = 0;
  return device;
}

cudaError_t Runtime::enqueue(CUstream_st* stream, Task task) {
  if (stream == nullptr) {
    for (const CUstream_st* other : streams) {
      if (other->device == device() && other->capture != nullptr) {
        other->capture->is_invalid = true;
        return remember(cudaErrorStreamCaptureImplicit);
      }
    }
    drain_for_legacy();
    clock_ms += kTaskMs;
    task.run();
    return cudaSuccess;
  }
  if (!streams.contains(stream)) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) {
    stream->capture->tasks.push_back(std::move(task));
    return cudaSuccess;
  }
  stream->tasks.push_back(std::move(task));
  may_advance();
  return cudaSuccess;
}

bool Runtime::advance(CUstream_st* stream) {
  if (stream->tasks.empty()) return false;
  const Task& next = stream->tasks.front();
  if (next.is_ready && !next.is_ready()) return false;
  const Task task = std::move(stream->tasks.front());
  stream->tasks.pop_front();
  const int before = std::exchange(device(), stream->device);
  const double start = std::max(at(stream->done), task.not_before ? task.not_before() : 0);
  now = start + task.work;
  stream->done = {epoch, now};
  if (timeline.is_on && task.work > 0) timeline.spans.push_back({stream->device, start, now});
  clock_ms += kTaskMs;
  task.run();
  device() = before;
  return true;
}

bool Runtime::advance_any() {
  for (CUstream_st* stream : streams) {
    if (advance(stream)) return true;
  }
  return false;
}

bool watches_races() {
#ifdef CUEMU_RACE
  return true;
#else
  return false;
#endif
}

Counters counters() {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  return runtime.counters;
}

void Runtime::drain(CUstream_st* stream) {
  if (!stream->tasks.empty()) counters.waits++;
  while (!stream->tasks.empty()) {
    if (!advance(stream) && !advance_any()) fail("streams wait for each other", {"stream", 0});
  }
}

void Runtime::drain_device(int device) {
  for (CUstream_st* stream : streams) {
    if (stream->device == device) drain(stream);
  }
}

void Runtime::drain_for_legacy() {
  for (CUstream_st* stream : streams) {
    if (stream->device == device() && stream->waits_for_legacy) drain(stream);
  }
}

bool Runtime::spoils_capture() {
  bool spoiled = false;
  for (const CUstream_st* stream : streams) {
    if (stream->capture == nullptr) continue;
    stream->capture->is_invalid = true;
    spoiled = true;
  }
  return spoiled;
}

void Runtime::wait_for(const CUevent_st& event, uint64_t record) {
  if (*event.num_completed < record) counters.waits++;
  while (*event.num_completed < record) {
    if (!advance_any()) fail("nothing left that would complete the event", {"event", 0});
  }
}

void Runtime::may_advance() {
  if (is_eager_) {
    while (advance_any()) {}
    return;
  }
  // Any stream may have got any distance.
  while (random_ != 0 && !streams.empty()) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    if (random_ % 3 == 0) return;
    auto pick = streams.begin();
    std::advance(pick, random_ / 3 % streams.size());
    advance(*pick);
  }
}

cudaError_t launch(Launch launch, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (runtime.num_devices() == 0) return remember(cudaErrorNoDevice);
  if (const cudaError_t error = check(launch); error != cudaSuccess) return remember(error);
  if (stream != nullptr && runtime.streams.contains(stream) && stream->device != Runtime::device()) {
    warn("a kernel is launched on a stream of another device than the current one");
    return remember(cudaErrorInvalidResourceHandle);
  }
  const auto allowed = runtime.dynamic_limits.find(launch.function);
  if (allowed != runtime.dynamic_limits.end()) launch.allowed_dynamic_bytes = static_cast<size_t>(allowed->second);
  if (launch.dynamic_bytes > std::max(SharedMemory::kMaxStaticBytes, launch.allowed_dynamic_bytes)) {
    return remember(cudaErrorInvalidValue);
  }
  runtime.counters.launches += stream == nullptr || stream->capture == nullptr;
  const auto size = [](const dim3& shape) { return static_cast<double>(shape.x) * shape.y * shape.z; };
  const double work = size(launch.grid) * size(launch.block);
  return runtime.enqueue(stream, {[launch = std::move(launch)] {
    const Memory::Access access(Runtime::instance().memory, Runtime::device());
    run(launch);
  }, {}, work});
}

}  // namespace cuemu

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  cuemu::Runtime& runtime = cuemu::Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value > static_cast<int>(cuemu::SharedMemory::kMaxBytes)) return cuemu::remember(cudaErrorInvalidValue);
  runtime.dynamic_limits[function] = value;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return std::exchange(cuemu::last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return cuemu::last_error; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit: return "operation would make the legacy stream depend on a capturing stream";
    case cudaErrorStreamCaptureUnjoined: return "capture has work that the origin stream was not joined with";
    default: return "an error the emulator has no text for";
  }
}

}  // extern "C"
