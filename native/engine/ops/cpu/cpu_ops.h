/** Owns the CPU device: the operations over a thread pool and one instruction set's kernels. */
#pragma once

#include <vector>

#include "ops/cpu/weight_matrix.h"
#include "ops/ops.h"
#include "runtime/aligned_memory.h"
#include "runtime/thread_pool.h"

namespace tessera::cpu {

class CpuOps final : public Ops {
 public:
  /** `dtype` is bf16, fp16 or fp32: the base type. Keys and values are bf16 with bf16 weights, else fp32. */
  CpuOps(Dtype dtype, int num_threads, const Kernels& kernels);

  std::string isa() const override { return kernels_.name; }
  int num_threads() const override { return pool_.num_threads(); }

  Buffer allocate(size_t bytes) override;
  Buffer upload(const void* host, size_t bytes) override;
  void download(void* host, const float* device, size_t count) override;
  void copy(const float* from, size_t count, float* to) override;
  void receive(const Rows& x, Ops& from, const Rows& y) override;
  std::unique_ptr<Matrix> load_matrix(std::span<const HostTensor> parts, Join join,
                                      WeightType type = WeightType::kBase) override;
  std::unique_ptr<Matrix> attach_matrix(std::span<const HostTensor> parts, Join join, WeightType type,
                                        std::shared_ptr<const char> packed, size_t num_bytes) override;

  void linear(const Rows& x, const Matrix& w, const Epilogue& epilogue, const Rows& y) override;
  void linear_swiglu(const Rows& x, const Matrix& gate_up, const float* bias, const Rows& y) override;
  void layer_norm(const Rows& x, const float* weight, const float* bias, float eps, const Rows& y) override;
  void rms_norm(const Rows& x, const float* weight, float eps, const Rows& y) override;

  void patchify(std::span<const uint8_t> pixels, int tile_size, int patch_size, const float mean[3],
                const float std[3], const Rows& patches) override;
  void add_positions(const Rows& patches, const float* class_embedding, const float* positions,
                     size_t patches_per_tile, const Rows& x) override;
  void tile_attention(const Rows& qkv, size_t tokens_per_tile, int num_heads, WeightType type, const Rows& y) override;
  void pixel_shuffle(const Rows& x, const PixelShuffle& shuffle, const Rows& y);
  void shuffle_norm(const Rows& x, const PixelShuffle& shuffle, const float* weight, const float* bias, float eps,
                    const Rows& y) override;

  size_t begin_step(const StepLayout& step) override {
    num_streams_ = 0;
    return step.positions.size();
  }
  void embed(const EmbeddingTable& table, const StepLayout& step, const float* tiles, const Rows& y) override;
  std::unique_ptr<KvCache> make_kv_cache(const KvShape& shape, uint64_t budget_bytes, int min_blocks) override;
  void rotate_and_store(const Rows& qkv, const StepLayout& step, KvCache& cache, int layer) override;
  void paged_attention(const Rows& qkv, const StepLayout& step, const KvCache& cache, int layer,
                       const Rows& y) override;
  void gather_rows(const Rows& x, const StepLayout& step, const Rows& y) override;
  void sample(const Rows& logits, std::span<const SamplingParams> params, std::span<SampledToken> out) override;

 private:
  /** Runs work(index, thread) over [0, count): on the pool where `cost` is worth waking it. */
  template <class Work>
  void parallel(size_t count, double cost, Work&& work) {
    if (cost < kWorthThreads) {
      for (size_t index = 0; index < count; index++) work(index, 0);
    } else {
      pool_.parallel_for(count, work);
    }
  }

  const MatrixKernel& weight_kernel() const;
  DiskType weight_disk_type() const;
  /** A matrix without memory, of the class and layout that `load_matrix` would fill. */
  std::unique_ptr<WeightMatrix> make_matrix(std::span<const HostTensor> parts, Join join, WeightType type) const;
  /** The same with zeroed memory, as the class it is. */
  template <class M>
  std::unique_ptr<M> new_matrix(std::span<const HostTensor> parts, Join join, WeightType type) {
    std::unique_ptr<M> matrix(static_cast<M*>(make_matrix(parts, join, type).release()));
    matrix->allocate(weights_);
    return matrix;
  }
  std::unique_ptr<WeightMatrix> load_base(std::span<const HostTensor> parts, Join join);
  std::unique_ptr<WeightMatrix> load_int8(std::span<const HostTensor> parts, Join join, WeightType type);
  std::unique_ptr<WeightMatrix> load_int4(std::span<const HostTensor> parts, Join join, WeightType type);
  std::unique_ptr<WeightMatrix> load_expanded4(std::span<const HostTensor> parts, Join join, WeightType type);
  std::unique_ptr<WeightMatrix> load_awq(std::span<const HostTensor> parts, Join join);
  /** Of attention: bf16 products for bf16 weights, fp32 otherwise. */
  const MatrixKernel& attention_kernel() const { return dtype_ == Dtype::kBf16 ? kernels_.bf16 : kernels_.f32; }
  /** `tile_attention` by the set's own kernel, and by products and softmax. */
  void attend_tiles(const TileAttentionKernel& kernel, const TileShape& shape, const Rows& qkv, const Rows& y);
  void attend_tiles(const Rows& qkv, size_t tokens, int num_heads, const Rows& y);
  /** How M rows are cut into tiles, and these into blocks: as evenly as can be. */
  struct RowTiles {
    size_t rows;  // of all but the last
    size_t count;
    size_t num_rows;  // in all
    size_t num_blocks;

    RowTiles(size_t num_rows, int max_rows);
    int size(size_t tile) const;
    /** First tile of a block; of the block behind the last, the number of tiles. */
    size_t first(size_t block) const { return count * block / num_blocks; }
  };

  /** The matrix that alone reads y, where y's memory holds as much packed as plain; else null. */
  const WeightMatrix* reader_of(const Rows& y) const;
  /** Whether a product may write y as the pairs its reader takes. */
  bool writes_pairs(const Rows& y) const;
  /** Where the columns from `col` on go of a tile of `rows` rows from `row` on. */
  static uint32_t* pairs_at(const Rows& y, size_t row, int rows, size_t col);
  /** Calls normalise(row of x, y), packing the results for who alone reads them. */
  template <class Normalise>
  void normalise(const Rows& x, const Rows& y, Normalise&& normalise);
  /** Activations packed for `matrix` in tiles of `tile_rows`; the last one may have fewer. Valid until the next. */
  const char* pack(const Rows& x, const WeightMatrix& matrix, const RowTiles& tiles);
  /**
   * The loop of every product: sums of `together` panels side by side go to end(sums, tile's first row, its rows, first
   * panel); begin(the same without sums) comes before they are made.
   */
  template <class Begin, class End>
  void multiply(const Rows& x, const WeightMatrix& matrix, size_t together, Begin&& begin, End&& end);
  /** Notes a product of the step at hand. @return what most likely comes behind it: what came there in the last step */
  WeightStream begin_stream(const WeightStream& stream);
  /** Memory of one thread, at least `bytes`. Call before the loop that uses it. */
  void reserve_scratch(size_t bytes);

  // Costs are in multiply-adds at full rate. Waking threads takes some microseconds, and where other programs want the
  // cores a thread may come late: small work is done at once.
  static constexpr double kWorthThreads = 1e6;
  /** An element read, changed and written: memory is that much slower. */
  static constexpr double kElementCost = 16;
  /** Products of a step that are noted: of more layers than any model has. */
  static constexpr size_t kMaxStreams = 2048;
  /** Rows up to which a product waits for its weights rather than for arithmetic. */
  static constexpr double kRowsPerRead = 10;

  const Dtype dtype_;
  const Kernels& kernels_;
  ThreadPool pool_;
  MemoryPieces weights_;
  /** Of the products of this step, the first `num_streams_`, then of the last one; bounded where no step begins. */
  std::vector<WeightStream> streams_;
  size_t num_streams_ = 0;
  /** The rows that lie packed in their own memory, until their reader comes. */
  const float* packed_rows_ = nullptr;
  AlignedMemory packed_;                // activations of the product at hand
  std::vector<std::vector<Outlier>> outliers_;  // of each tile in it
  std::vector<AlignedMemory> scratch_;  // one a thread
};

}  // namespace tessera::cpu
