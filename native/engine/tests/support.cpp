#include "tests/support.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "ops/cpu/half.h"

namespace tessera::tests {

uint32_t Random::word() {
  state_ = state_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>((state_ ^ (state_ >> 22)) >> 22);
}

std::vector<float> Random::values(size_t count, float scale) {
  std::vector<float> out(count);
  for (float& x : out) x = value() * scale;
  return out;
}

std::unique_ptr<cpu::CpuOps> Variant::open(int num_threads) const {
  return std::make_unique<cpu::CpuOps>(dtype, num_threads, *kernels);
}

float Variant::weight(float value) const {
  if (dtype == Dtype::kBf16) return cpu::from_bf16(cpu::to_bf16(value));
  if (dtype == Dtype::kFp16) return cpu::from_f16(cpu::to_f16(value));
  return value;
}

float Variant::activation(float value) const {
  return dtype == Dtype::kBf16 ? cpu::from_bf16(cpu::to_bf16(value)) : value;
}

std::vector<const cpu::Kernels*> all_kernels() {
  std::vector<const cpu::Kernels*> out;
  for (const char* name : {"portable", "avx2", "avx512", "avx512_bf16", "neon_dot"}) {
    if (const auto* kernels = cpu::find_kernels(name)) out.push_back(kernels);
  }
  return out;
}

std::vector<Variant> all_variants() {
  std::vector<Variant> out;
  for (const auto* kernels : all_kernels()) {
    for (const auto& [dtype, name] : {std::pair{Dtype::kBf16, "bf16"}, {Dtype::kFp16, "fp16"}, {Dtype::kFp32, "fp32"}}) {
      out.push_back({kernels, dtype, std::string(kernels->name) + " " + name});
    }
  }
  return out;
}

std::unique_ptr<Matrix> make_matrix(Ops& ops, const std::vector<float>& values, size_t rows, size_t cols,
                                    WeightType type) {
  const HostTensor tensor = {"test", values.data(), DiskType::kF32, rows, cols};
  return ops.load_matrix({&tensor, 1}, Join::kStacked, type);
}

reference::Values to_reference(const std::vector<float>& values, size_t rows, size_t cols,
                               const std::function<float(float)>& convert) {
  reference::Values out(rows, cols);
  for (size_t i = 0; i < rows * cols; i++) out.data[i] = convert == nullptr ? values[i] : convert(values[i]);
  return out;
}

double largest_difference(const std::vector<float>& a, const reference::Values& b) {
  double largest = 0;
  for (size_t i = 0; i < b.data.size(); i++) {
    const double difference = std::fabs(a[i] - b.data[i]);
    if (!(difference <= std::numeric_limits<double>::max())) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

}  // namespace tessera::tests
