/** Owns what a stream, an event and a graph are: tasks in order, and when they run. */
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace cuemu {

/** One piece of a stream's work. It may be run many times, when it is part of a graph. */
struct Task {
  std::function<void()> run;
  /** Whether it may run; empty: always. */
  std::function<bool()> is_ready;
  /** For the timeline: how much work it is, and when it may begin at the earliest. */
  double work = 0;
  std::function<double()> not_before = {};
};

/** A time on the timeline; those of an earlier one are 0. */
struct Moment {
  uint64_t epoch = 0;
  double at = 0;
};

/** Work that is recorded, not run: the streams it is recorded from, in the order of the calls. */
struct Capture {
  CUstream_st* origin = nullptr;
  std::vector<Task> tasks;
  bool is_invalid = false;
  /** Streams that joined by an event and have work the origin has not waited for. */
  std::vector<CUstream_st*> apart;
};

}  // namespace cuemu

struct CUstream_st {
  int device = 0;
  /** Made without cudaStreamNonBlocking: work that names no stream waits for it. */
  bool waits_for_legacy = false;
  std::deque<cuemu::Task> tasks;
  std::shared_ptr<cuemu::Capture> capture;  // set while it records
  cuemu::Moment done = {};                  // all that has run
};

struct CUevent_st {
  int device = 0;
  uint64_t num_recorded = 0;   // records asked for
  /** The newest record that has run. Work that was told to wait outlives the event. */
  std::shared_ptr<uint64_t> num_completed = std::make_shared<uint64_t>(0);
  std::shared_ptr<cuemu::Moment> completed_at = std::make_shared<cuemu::Moment>();
  /** The device's clock then, in milliseconds. */
  std::shared_ptr<double> clock_at = std::make_shared<double>(0);
  bool is_timed = true;
  std::shared_ptr<cuemu::Capture> capture;  // where it was recorded, if in a capture
  CUstream_st* captured_on = nullptr;
};

struct CUgraph_st {
  std::vector<cuemu::Task> tasks;
};

struct CUgraphExec_st {
  std::vector<cuemu::Task> tasks;
};
