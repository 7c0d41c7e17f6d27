/** Owns recorded launches: a step's operations for each shape, replayed as one. */
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

namespace tessera::cuda {

class Graphs {
 public:
  /** What a step's launches depend on: rows, pages of a sequence. */
  using Shape = std::pair<int, int>;

  Graphs() = default;
  ~Graphs() { forget(); }
  Graphs(const Graphs&) = delete;
  Graphs& operator=(const Graphs&) = delete;

  /**
   * Puts `body`'s work on the stream: as it is the first time, when it may take memory; recorded and replayed from the
   * second time on.
   */
  void run(Shape shape, cudaStream_t stream, const std::function<void()>& body);
  /** Memory that was recorded over is no more, or is elsewhere. */
  void forget();
  /** How often that was. */
  uint64_t num_forgotten() const { return num_forgotten_; }

 private:
  /** Of each shape seen; null until it is recorded. */
  std::map<Shape, cudaGraphExec_t> recorded_;
  uint64_t num_forgotten_ = 0;
  /** A recording takes device memory of the driver's: kept at most. */
  static constexpr size_t kMaxRecorded = 128;
};

}  // namespace tessera::cuda
