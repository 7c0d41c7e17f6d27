/** Owns a device that passes every operation of a decoder's step on to another, and adds up how long each kind takes. */
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "ops/ops.h"

namespace tessera::bench {

class TimedOps final : public Ops {
 public:
  explicit TimedOps(std::unique_ptr<Ops> ops) : ops_(std::move(ops)) {}

  /** Seconds of each operation, products by the shape of their weights, since the last call. */
  std::map<std::string, double> take_seconds() { return std::exchange(seconds_, {}); }

  std::string isa() const override { return ops_->isa(); }
  int num_threads() const override { return ops_->num_threads(); }
  Element activations() const override { return ops_->activations(); }
  Buffer allocate(size_t bytes) override { return ops_->allocate(bytes); }
  Buffer upload(const void* host, size_t bytes) override { return ops_->upload(host, bytes); }
  void download(void* host, const float* device, size_t count) override { ops_->download(host, device, count); }
  void copy(const float* from, size_t count, float* to) override { ops_->copy(from, count, to); }
  void receive(const Rows& x, Ops& from, const Rows& y) override { ops_->receive(x, from, y); }
  std::unique_ptr<Matrix> load_matrix(std::span<const HostTensor> parts, Join join, WeightType type) override {
    return ops_->load_matrix(parts, join, type);
  }

  void linear(const Rows& x, const Matrix& w, const Epilogue& epilogue, const Rows& y) override {
    time(name_of(w), [&] { ops_->linear(x, w, epilogue, y); });
  }
  void linear_swiglu(const Rows& x, const Matrix& w, const float* bias, const Rows& y) override {
    time(name_of(w), [&] { ops_->linear_swiglu(x, w, bias, y); });
  }
  void layer_norm(const Rows& x, const float* weight, const float* bias, float eps, const Rows& y) override {
    time("norm", [&] { ops_->layer_norm(x, weight, bias, eps, y); });
  }
  void rms_norm(const Rows& x, const float* weight, float eps, const Rows& y) override {
    time("norm", [&] { ops_->rms_norm(x, weight, eps, y); });
  }
  void patchify(std::span<const uint8_t> pixels, int tile_size, int patch_size, const float mean[3], const float std[3],
                const Rows& patches) override {
    time("patchify", [&] { ops_->patchify(pixels, tile_size, patch_size, mean, std, patches); });
  }
  void add_positions(const Rows& patches, const float* class_embedding, const float* positions,
                     size_t patches_per_tile, const Rows& x) override {
    time("positions", [&] { ops_->add_positions(patches, class_embedding, positions, patches_per_tile, x); });
  }
  void tile_attention(const Rows& qkv, size_t tokens_per_tile, int num_heads, WeightType type, const Rows& y) override {
    time("attention", [&] { ops_->tile_attention(qkv, tokens_per_tile, num_heads, type, y); });
  }
  void shuffle_norm(const Rows& x, const PixelShuffle& shuffle, const float* weight, const float* bias, float eps,
                    const Rows& y) override {
    time("shuffle", [&] { ops_->shuffle_norm(x, shuffle, weight, bias, eps, y); });
  }
  size_t begin_step(const StepLayout& step) override { return ops_->begin_step(step); }
  void embed(const EmbeddingTable& table, const StepLayout& step, const float* tiles, const Rows& y) override {
    time("embed", [&] { ops_->embed(table, step, tiles, y); });
  }
  std::unique_ptr<KvCache> make_kv_cache(const KvShape& shape, uint64_t budget_bytes, int min_blocks) override {
    return ops_->make_kv_cache(shape, budget_bytes, min_blocks);
  }
  void rotate_and_store(const Rows& qkv, const StepLayout& step, KvCache& cache, int layer) override {
    time("rotate", [&] { ops_->rotate_and_store(qkv, step, cache, layer); });
  }
  void paged_attention(const Rows& qkv, const StepLayout& step, const KvCache& cache, int layer,
                       const Rows& y) override {
    time("attention", [&] { ops_->paged_attention(qkv, step, cache, layer, y); });
  }
  void gather_rows(const Rows& x, const StepLayout& step, const Rows& y) override {
    time("gather", [&] { ops_->gather_rows(x, step, y); });
  }
  void sample(const Rows& logits, std::span<const SamplingParams> params, std::span<SampledToken> out) override {
    time("sample", [&] { ops_->sample(logits, params, out); });
  }

 private:
  static std::string name_of(const Matrix& w) {
    return "product " + std::to_string(w.rows) + " x " + std::to_string(w.cols);
  }

  template <class Work>
  void time(const std::string& name, Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds_[name] += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  std::unique_ptr<Ops> ops_;
  std::map<std::string, double> seconds_;
};

}  // namespace tessera::bench
