/** Owns the runtime's calls about order: streams, events, graphs. */
#include <algorithm>
#include <utility>

#include "runtime/runtime.h"

using cuemu::Capture;
using cuemu::remember;
using cuemu::Runtime;

namespace {

bool is_known(Runtime& runtime, cudaStream_t stream) { return runtime.streams.contains(stream); }

/** The stream of `event` is part of a capture: who waits for it becomes part of it too. */
cudaError_t join(CUstream_st* stream, const CUevent_st& event) {
  if (stream->capture != nullptr && stream->capture != event.capture) return remember(cudaErrorStreamCaptureInvalidated);
  Capture& capture = *event.capture;
  if (stream->capture == nullptr) {
    stream->capture = event.capture;
    capture.apart.push_back(stream);
  }
  if (stream == capture.origin) std::erase(capture.apart, event.captured_on);
  return cudaSuccess;
}

/** Of what is recorded nobody can say when it runs; to ask spoils the capture. */
bool is_captured(const CUevent_st& event) {
  if (event.capture == nullptr) return false;
  event.capture->is_invalid = true;
  return true;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (Runtime::device() >= runtime.num_devices()) return remember(cudaErrorNoDevice);
  *stream = new CUstream_st{.device = Runtime::device(),
                            .waits_for_legacy = (flags & cudaStreamNonBlocking) == 0,
                            .tasks = {},
                            .capture = {}};
  runtime.streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (!is_known(runtime, stream)) return remember(cudaErrorInvalidResourceHandle);
  runtime.drain(stream);
  runtime.streams.erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (stream == nullptr) {
    runtime.drain_for_legacy();
    return cudaSuccess;
  }
  if (!is_known(runtime, stream)) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) {
    stream->capture->is_invalid = true;
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  runtime.drain(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (!is_known(runtime, stream)) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) {
    stream->capture->is_invalid = true;
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  runtime.may_advance();
  return stream->tasks.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize() {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (Runtime::device() >= runtime.num_devices()) return remember(cudaErrorNoDevice);
  if (runtime.spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  runtime.drain_device(Runtime::device());
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t call, void* data) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  return runtime.enqueue(stream, {[=] { call(data); }, {}});
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{.device = Runtime::device()};
  (*event)->is_timed = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (stream != nullptr && !is_known(runtime, stream)) return remember(cudaErrorInvalidResourceHandle);
  const int device = stream == nullptr ? Runtime::device() : stream->device;
  if (event->device != device) return remember(cudaErrorInvalidResourceHandle);
  if (stream != nullptr && stream->capture != nullptr) {
    event->capture = stream->capture;
    event->captured_on = stream;
    return cudaSuccess;
  }
  event->capture = nullptr;
  const uint64_t record = ++event->num_recorded;
  return runtime.enqueue(stream, {[completed = event->num_completed, at = event->completed_at, clock = event->clock_at,
                                   record] {
    *completed = std::max(*completed, record);
    *at = {Runtime::instance().epoch, Runtime::instance().now};
    *clock = Runtime::instance().clock_ms;
  }, {}});
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (!is_known(runtime, stream)) return remember(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) return join(stream, *event);
  const uint64_t record = event->num_recorded;
  return runtime.enqueue(stream, {[] {}, [completed = event->num_completed, record] { return *completed >= record; }, 0,
                                  [at = event->completed_at] { return Runtime::instance().at(*at); }});
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (is_captured(*event)) return remember(cudaErrorCapturedEvent);
  runtime.wait_for(*event, event->num_recorded);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (is_captured(*event)) return remember(cudaErrorCapturedEvent);
  runtime.may_advance();
  return *event->num_completed >= event->num_recorded ? cudaSuccess : cudaErrorNotReady;
}

/** By a clock that any work moves on a little, and that of libraries by what it is said to take. */
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  for (const CUevent_st* event : {begin, end}) {
    if (!event->is_timed || event->num_recorded == 0) return remember(cudaErrorInvalidResourceHandle);
    if (*event->num_completed < event->num_recorded) return cudaErrorNotReady;
  }
  *ms = static_cast<float>(*end->clock_at - *begin->clock_at);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (!is_known(runtime, stream) || stream->capture != nullptr) return remember(cudaErrorInvalidValue);
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  *graph = nullptr;
  if (!is_known(runtime, stream) || stream->capture == nullptr) return remember(cudaErrorInvalidValue);
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) return remember(cudaErrorStreamCaptureInvalidated);
  for (CUstream_st* other : runtime.streams) {
    if (other->capture == capture) other->capture = nullptr;
  }
  if (capture->is_invalid) return remember(cudaErrorStreamCaptureInvalidated);
  if (!capture->apart.empty()) return remember(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st{std::move(capture->tasks)};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->tasks};
  return cudaSuccess;
}

/** The stream's next tasks, in the order they were recorded. */
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  runtime.counters.launches++;
  for (const cuemu::Task& task : executable->tasks) {
    if (const cudaError_t error = runtime.enqueue(stream, task); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

}  // extern "C"
