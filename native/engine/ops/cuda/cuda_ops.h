/**
 * Owns the CUDA device: the operations as kernels and cuBLASLt products on one stream. The residual stream, tile
 * embeddings and logits are fp32, all else between operations is bf16. An operation returns once its work is in line;
 * `download` and `Draws::take` wait for results.
 */
#pragma once

#include <optional>

#include "model/scratch.h"
#include "ops/cuda/blas/gemm.h"
#include "ops/cuda/device.h"
#include "ops/cuda/graphs.h"
#include "ops/cuda/kernels/kernels.h"
#include "ops/cuda/quantised_product.h"
#include "ops/cuda/sampler.h"
#include "ops/cuda/step_inputs.h"
#include "ops/ops.h"

namespace tessera::cuda {

class CudaOps final : public Ops {
 public:
  /** @throws Error where the device or cuBLASLt cannot be used */
  explicit CudaOps(int device);
  ~CudaOps() override;

  std::string isa() const override { return device_.arch(); }
  int num_threads() const override { return 1; }
  bool is_asynchronous() const override { return true; }
  Element activations() const override { return Element::kBf16; }

  void check_heads(int head_dim, int group) const override;
  bool has_own_memory() const override { return true; }
  uint64_t free_bytes() const override { return device_.free_bytes(); }
  size_t decode_rows(size_t num_sequences) const override { return padded_tokens(num_sequences); }
  void reserve(const WorkLimits& limits) override;
  std::string rehearse(const std::string& folder, const std::function<void()>& work) override;
  Buffer allocate(size_t bytes) override;
  /** Behind the fp32 vector lie its values in bf16: a product's bias is of the type of what it is added to. */
  Buffer upload(const void* host, size_t bytes) override;
  void download(void* host, const float* device, size_t count) override;
  void copy(const float* from, size_t count, float* to) override;
  void receive(const Rows& x, Ops& from, const Rows& y) override;
  std::unique_ptr<Matrix> load_matrix(std::span<const HostTensor> parts, Join join, WeightType type) override;

  void linear(const Rows& x, const Matrix& w, const Epilogue& epilogue, const Rows& y) override;
  void linear_swiglu(const Rows& x, const Matrix& gate_up, const float* bias, const Rows& y) override;
  void layer_norm(const Rows& x, const float* weight, const float* bias, float eps, const Rows& y) override;
  void rms_norm(const Rows& x, const float* weight, float eps, const Rows& y) override;

  void patchify(std::span<const uint8_t> pixels, int tile_size, int patch_size, const float mean[3],
                const float std[3], const Rows& patches) override;
  void add_positions(const Rows& patches, const float* class_embedding, const float* positions,
                     size_t patches_per_tile, const Rows& x) override;
  void tile_attention(const Rows& qkv, size_t tokens_per_tile, int num_heads, WeightType type, const Rows& y) override;
  void shuffle_norm(const Rows& x, const PixelShuffle& shuffle, const float* weight, const float* bias, float eps,
                    const Rows& y) override;

  size_t begin_step(const StepLayout& step) override;
  /** Steps in which every sequence decodes are recorded, a graph a shape. */
  void repeat(const std::function<void()>& body) override;
  void embed(const EmbeddingTable& table, const StepLayout& step, const float* tiles, const Rows& y) override;
  std::unique_ptr<KvCache> make_kv_cache(const KvShape& shape, uint64_t budget_bytes, int min_blocks) override;
  void rotate_and_store(const Rows& qkv, const StepLayout& step, KvCache& cache, int layer) override;
  void paged_attention(const Rows& qkv, const StepLayout& step, const KvCache& cache, int layer,
                       const Rows& y) override;
  void gather_rows(const Rows& x, const StepLayout& step, const Rows& y) override;
  void sample(const Rows& logits, std::span<const SamplingParams> params, std::span<SampledToken> out) override;
  bool feeds_ids() const override { return true; }
  std::unique_ptr<Draws> begin_draws(const Rows& logits, std::span<const SamplingParams> params) override;

  // For a group of devices.
  const Device& device() const { return device_; }
  /** All that is put off is in line. */
  void finish() { settle(); }
  /** Token ids of the same step on another device, in place of this one's. */
  void take_ids(CudaOps& from);
  /** Shape of a step in which every sequence decodes; none of another. */
  std::optional<Graphs::Shape> decode_shape() const;
  /** How often memory moved that may have been recorded over. */
  uint64_t num_moves() const { return graphs_.num_forgotten(); }

 private:
  /** The same of weights in few bits. */
  std::unique_ptr<Matrix> load_quantised(std::span<const HostTensor> parts, Join join, WeightType type);

  /** x += scale * delta, which the norm that comes next does on its way, or else `settle`. */
  struct Pending {
    Rows x;
    const float* scale = nullptr;
  };

  void norm(const Rows& x, const float* weight, const float* bias, float eps, const Rows& y);
  void settle();
  Rows delta(size_t rows, size_t cols) { return delta_.rows(*this, rows, cols, Element::kBf16); }

  Device device_;
  Gemm gemm_;
  QuantisedProducts quantised_;
  StepInputs inputs_;
  Sampler sampler_;
  Graphs graphs_;
  Pending pending_;
  Scratch delta_, gate_up_, pixels_, workspace_;
  /** Puts `copy` on this device's stream: behind what the other one has in line, before what it does next. */
  void copy_between(CudaOps& from, const std::function<void()>& copy);

  Event computed_, taken_;  // of `receive`: by this device for another, and from another
};

}  // namespace tessera::cuda
