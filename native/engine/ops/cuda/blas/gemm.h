/**
 * Owns matrix products by cuBLASLt: one algorithm a shape, chosen once; bias and residual fused into the product. Only `tune`
 * measures. Of other numbers of rows than it saw, the algorithm of the nearest is taken where the library says it is good there.
 */
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ops/cuda/blas/algorithms.h"
#include "ops/cuda/blas/cublaslt.h"
#include "ops/cuda/device.h"

namespace tessera::cuda {

/** What a product multiplies. */
enum class Factors {
  kBf16,
  kInt8,  // y is int32 and takes nothing but the sum; n, k and strides are multiples of 4
  kFp8,   // E4M3; bias is bf16; n, k and strides are multiples of 16
};

/** y [m][n] = x [m][k] w [n][k]^T (+ bias) (+ y), row-major; x and w bf16, y and bias bf16 or fp32 alike. */
struct Product {
  size_t m = 0;
  size_t n = 0;
  size_t k = 0;
  const void* x = nullptr;
  size_t x_stride = 0;  // elements
  const void* w = nullptr;
  const void* bias = nullptr;  // [n] of y's type, or null
  void* y = nullptr;
  size_t y_stride = 0;
  Element y_type = Element::kBf16;
  bool adds = false;  // to what y holds
  Factors factors = Factors::kBf16;
  // Of FP8, what codes are multiplied with: one number each, or one for each row of w and of x.
  const float* w_scales = nullptr;
  const float* x_scales = nullptr;
  bool scales_rows = false;
};

class Gemm {
 public:
  explicit Gemm(const Device& device);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  /**
   * Puts the product on the device's stream. A shape that was not tuned takes the algorithm of the same product of more rows,
   * the next that were, or of fewer; where there is none, or the library does not take it, the library's first choice.
   */
  void run(const Product& product);
  /**
   * Runs `work`, in which each shape that is new takes the quickest of some algorithms, measured, or the one kept in
   * `folder` from an earlier time. What products write meanwhile is not to be used.
   * @return what came of it, for people
   */
  std::string tune(const std::string& folder, const std::function<void()>& work);

 private:
  /** A product's descriptors and algorithm; pointers but the bias's are given with each run. */
  struct Plan {
    lt::Operation operation = nullptr;
    lt::Layout x = nullptr, w = nullptr, y = nullptr;
    lt::Candidate candidate = {};
  };
  struct Key {
    uint64_t m, n, k, x_stride, y_stride;
    uint32_t x_align, w_align, y_align, bias_align;
    Element y_type;
    Factors factors;
    bool adds, has_bias, scales_rows;
    bool operator==(const Key&) const = default;
    /** All of it, for people and for the file. */
    std::string text() const;
    /** What products have in common that differ in rows alone. */
    Key of_any_rows() const;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };

  Plan make(const Product& product, const Key& key);
  lt::Candidate choose(const Plan& plan, const Product& product, const Key& key);
  /** The quickest of some, or the one kept; remembered for its like. */
  lt::Candidate tuned(const Plan& plan, const Product& product, const Key& key);
  /** What was tuned for the next larger number of rows, or the next smaller. */
  std::optional<lt::Candidate> of_like(const Plan& plan, const Key& key) const;
  /** The algorithm for a plan, which may not be the one it was found for; nothing where the library does not take it. */
  std::optional<lt::Candidate> check(const Plan& plan, const lt::Algorithm& algorithm) const;
  std::vector<lt::Candidate> find(const Plan& plan, const Key& key, int most) const;
  /** Milliseconds of a run; infinity where the algorithm does not run. */
  float measure(const Plan& plan, const Product& product, const lt::Candidate& candidate) const;
  int launch(const Plan& plan, const Product& product, const lt::Candidate& candidate) const;
  void release(const Plan& plan) const;
  void clear();

  /** What NVIDIA advises for Hopper, the most of all. */
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;
  /** Prompts come in any length: plans kept at most. */
  static constexpr size_t kMaxPlans = 4096;
  /** Algorithms that are tried, and runs of each. */
  static constexpr int kTried = 8;
  static constexpr int kMeasuredRuns = 10;

  const Device& device_;
  const lt::Library& lt_;
  lt::Handle handle_ = nullptr;
  Buffer workspace_;
  std::unordered_map<Key, Plan, KeyHash> plans_;
  std::unordered_map<Key, std::map<uint64_t, lt::Algorithm>, KeyHash> tuned_;  // by rows; `m` of the keys is 0
  Algorithms algorithms_;
  bool is_tuning_ = false;
  int num_kept_ = 0;  // of this tuning: found in the file
  int num_measured_ = 0;
};

}  // namespace tessera::cuda
