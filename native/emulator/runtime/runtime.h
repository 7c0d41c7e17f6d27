/** Owns the state behind the runtime's API: devices, memory, streams and their order. One for the process. */
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <set>

#include "device/block.h"
#include "runtime/counters.h"
#include "runtime/memory.h"
#include "runtime/stream.h"
#include "runtime/timeline.h"

namespace cuemu {

class Runtime {
 public:
  static Runtime& instance();

  /** Held by whoever is in a call; kernels run under it. */
  std::recursive_mutex mutex;
  Memory memory;
  std::set<CUstream_st*> streams;
  /** Dynamic shared memory that kernels were allowed beyond 48 KiB, in bytes. */
  std::map<const void*, int> dynamic_limits;
  Counters counters;
  Timeline timeline;
  uint64_t epoch = 0;  // of the timeline
  /** When the work at hand ends, on the timeline. */
  double now = 0;
  double at(const Moment& moment) const { return moment.epoch == epoch ? moment.at : 0; }
  /** What any work is said to take: some time, as on a device. Of libraries it takes longer. */
  static constexpr double kTaskMs = 0.001;
  /** Milliseconds that all work so far is said to have taken. */
  double clock_ms = 0;

  /** CUEMU_DEVICES; 0 is a machine without one. */
  int num_devices() const { return num_devices_; }
  /** CUEMU_ARCH, 90 where it is not set: what all devices say they are. What they can do is the same. */
  static int capability();
  /** Device of the calling thread. */
  static int& device();

  /**
   * Takes work for a stream: now into its line, or into the graph it records. With no stream earlier work of the device's
   * streams is done first, but for those made with cudaStreamNonBlocking, then this.
   */
  cudaError_t enqueue(CUstream_st* stream, Task task);
  /** Runs the stream's work, and of others what that waits for. A wait for nothing is a deadlock and ends the program. */
  void drain(CUstream_st* stream);
  void drain_device(int device);
  /** What work without a stream waits for on the calling thread's device. */
  void drain_for_legacy();
  /** Whether any stream records: calls that would wait, or take memory, are errors then and spoil the capture. */
  bool spoils_capture();
  void wait_for(const CUevent_st& event, uint64_t record);
  /** What may happen at any time happens now, or not: CUEMU_STREAMS is lazy (default), eager, or drawn by CUEMU_SEED. */
  void may_advance();

 private:
  Runtime();
  bool advance(CUstream_st* stream);
  bool advance_any();

  int num_devices_;
  bool is_eager_;
  uint64_t random_;
};

/** Puts a kernel on a stream; what `gpu::launch` becomes. */
cudaError_t launch(Launch launch, cudaStream_t stream);

/** Remembers an error for cudaGetLastError. */
cudaError_t remember(cudaError_t error);

}  // namespace cuemu
