/** Owns what tests of operations share: made-up values, every device variant of this machine, comparison. */
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/cpu/cpu_ops.h"
#include "ops/reference/reference.h"

namespace tessera::tests {

/** Deterministic values in (-1, 1). */
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint32_t word();
  float value() { return static_cast<float>(static_cast<int32_t>(word())) * 0x1p-31f; }
  size_t below(size_t bound) { return word() % bound; }
  std::vector<float> values(size_t count, float scale = 1);

 private:
  uint64_t state_;
};

/** One instruction set and weight type. */
struct Variant {
  const cpu::Kernels* kernels;
  Dtype dtype;
  std::string name;

  std::unique_ptr<cpu::CpuOps> open(int num_threads = 1) const;
  /** What storing a value as a weight makes of it. */
  float weight(float value) const;
  /** What an activation is multiplied as. */
  float activation(float value) const;
  /** What the KV cache and attention's products make of a value. */
  float cached(float value) const { return activation(value); }
  /** Relative rounding of one activation or probability: 2^-9 in bf16. */
  double epsilon() const { return dtype == Dtype::kBf16 ? 0x1p-9 : 0x1p-23; }
};

/** All that this machine and build can run. */
std::vector<Variant> all_variants();
std::vector<const cpu::Kernels*> all_kernels();

/** fp32 weights as the engine holds them for a variant. */
std::unique_ptr<Matrix> make_matrix(Ops& ops, const std::vector<float>& values, size_t rows, size_t cols,
                                    WeightType type = WeightType::kBase);

/** Values as fp64, each passed through `convert`. */
reference::Values to_reference(const std::vector<float>& values, size_t rows, size_t cols,
                               const std::function<float(float)>& convert = nullptr);

/** Largest |a - b|, infinite where one is not a number. */
double largest_difference(const std::vector<float>& a, const reference::Values& b);

bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace tessera::tests
