/** Owns what `linear` asks of a weight matrix of any type: pack a tile of activations, multiply it with a panel. */
#pragma once

#include <memory>
#include <vector>

#include "ops/cpu/kernels.h"
#include "ops/ops.h"
#include "runtime/memory_pieces.h"

namespace tessera::cpu {

/** An activation too large for int8, multiplied on its own. */
struct Outlier {
  int row;  // in its tile
  size_t col;
  float value;
};

/** Where the loop over tiles and panels is: one tile of those that share a pass over a panel. */
struct PanelTurn {
  size_t panel;
  size_t next_panel;  // of the same thread; may be beyond the last
  size_t tile;
  size_t num_tiles;   // that the panel was opened for
};

/** A product's weights as its threads walk them: in items, each thread from the first of its part on. */
struct WeightStream {
  const char* start = nullptr;
  size_t item_bytes = 0;
  size_t num_items = 0;

  /** First index of a thread's part, as `ThreadPool` cuts it. */
  size_t first_of(int thread, int num_threads) const { return num_items * thread / num_threads; }
  /** Brings the beginning of a thread's part into L2. */
  void ask_for(int thread, int num_threads) const {
    const char* from = start + first_of(thread, num_threads) * item_bytes;
    for (size_t i = 0; i < kBytesAsked; i += 64) __builtin_prefetch(from + i, 0, 2);
  }

  static constexpr size_t kBytesAsked = 8192;
};

class WeightMatrix : public Matrix {
 public:
  size_t num_panels() const { return num_panels_; }

  /** Takes zeroed memory, to be packed into. Made without: weights packed before are attached by `rest_on`. */
  void allocate(MemoryPieces& memory) {
    auto piece = memory.take(bytes);
    start_ = piece.get();
    memory_ = std::move(piece);
  }
  std::span<const char> packed() const override { return {start_, bytes}; }
  void rest_on(std::shared_ptr<const char> packed) override {
    start_ = const_cast<char*>(packed.get());  // read from here on
    memory_ = std::move(packed);
    is_mapped_ = true;
  }

  /** Where the weights of a panel begin; panels follow each other. */
  virtual const char* weights_of(size_t panel) const = 0;
  /** Bytes a packed row of activations takes; a multiple of 4. */
  virtual size_t packed_row_bytes() const = 0;
  /** Packs rows [rows][cols] of stride `stride` as one tile. `outliers` comes empty. */
  virtual void pack(const float* x, size_t stride, int rows, char* packed, std::vector<Outlier>& outliers) const = 0;
  /** Whether activations are packed by the kernels' `bf16.pack`. */
  virtual bool takes_bf16_pairs() const { return false; }
  /** Scratch a thread lends to `open_panel` and `multiply`. */
  virtual size_t scratch_bytes() const { return 0; }
  /** Gets a panel ready for `num_tiles` products in `scratch`. */
  virtual void open_panel(size_t panel, size_t num_tiles, char* scratch) const {
    (void)panel, (void)num_tiles, (void)scratch;
  }
  /** sums [rows][32] of a packed tile and an open panel. A row's bits do not depend on other rows. */
  virtual void multiply(int rows, const char* packed, const std::vector<Outlier>& outliers, const PanelTurn& turn,
                        char* scratch, float* sums) const = 0;

 protected:
  /** Whether it lies in a file's small pages, at whose ends the processor stops fetching by itself. */
  bool is_mapped() const { return is_mapped_; }

  WeightMatrix(size_t num_rows, size_t num_cols) : num_panels_((num_rows + kPanelWidth - 1) / kPanelWidth) {
    rows = num_rows;
    cols = num_cols;
  }

  char* start() const { return start_; }

 private:
  size_t num_panels_;
  std::shared_ptr<const void> memory_;
  char* start_ = nullptr;
  bool is_mapped_ = false;
};

/** Bytes ahead of its own stream that weights are asked for while few rows read them. */
inline constexpr size_t kAhead = 4096;

}  // namespace tessera::cpu
