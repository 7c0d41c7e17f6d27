/** Owns a device as the engine uses it: which one, its one stream, its memory, and the way there from host memory. */
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <string>

#include "ops/ops.h"

namespace tessera::cuda {

/** Page-locked host memory. */
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(size_t bytes);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  /** Makes room; what was in it is lost. */
  void reserve(size_t bytes);
  char* data() const { return static_cast<char*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/** Marks a place in a stream's work; owned. */
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream);
  /** Until the work before the last record is done; at once where there was none. */
  void wait();
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/** A place in a stream's work whose time can be told; owned. */
class TimedEvent {
 public:
  TimedEvent();
  ~TimedEvent();
  TimedEvent(const TimedEvent&) = delete;
  TimedEvent& operator=(const TimedEvent&) = delete;

  void record(cudaStream_t stream) const;
  /** Waits for this one. */
  float ms_since(const TimedEvent& begin) const;

 private:
  cudaEvent_t event_ = nullptr;
};

/**
 * All work of an engine on a device goes through one stream, so that operations are in order without a word. Calls come
 * from any thread, one at a time; `use` comes first in each.
 */
class Device {
 public:
  /** Of an upload: long enough that its start costs nothing, short enough that two are no memory to speak of. */
  static constexpr size_t kPieceBytes = size_t{16} << 20;

  explicit Device(int index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int index() const { return index_; }
  cudaStream_t stream() const { return stream_; }
  /** `sm_90` and the like. */
  const std::string& arch() const { return arch_; }
  /** As NVIDIA calls it. */
  std::string name() const;
  size_t free_bytes() const;

  /** Makes this the calling thread's device. */
  void use() const;
  /** Zeroed. */
  Buffer allocate(size_t bytes) const;
  /** Of undefined contents. */
  Buffer allocate_raw(size_t bytes) const;
  /** Takes the pinned memory that an upload of so many bytes needs. */
  void reserve_stages(size_t bytes);
  /** Waits for all work so far. */
  void synchronise() const;

  /**
   * Fills device memory from `fill(first byte, count, target in host memory)`, which is called for pieces in order while
   * the piece before is on its way. Returns when `fill` is done, not the copies.
   */
  void upload(void* target, size_t bytes, const std::function<void(size_t, size_t, char*)>& fill);

 private:
  struct Stage {
    PinnedMemory memory;
    Event copied;
  };

  int index_;
  std::string arch_;
  cudaStream_t stream_ = nullptr;
  Stage* stages_ = nullptr;  // two
  int next_stage_ = 0;
};

}  // namespace tessera::cuda
