#include "ops/cuda/blas/gemm.h"

#include <algorithm>
#include <string>

#include "ops/cuda/cuda_error.h"

namespace tessera::cuda {

namespace {

void must_lt(int status, const char* action) {
  if (status == lt::kSuccess) return;
  refuse(std::string(action) + " on the GPU", "cuBLASLt's status is " + std::to_string(status), "success (0)");
}

/** The largest power of two up to 256 that divides the address and, where there is one, the step between lines. */
uint32_t alignment(const void* at, size_t stride_bytes = 0) {
  const uintptr_t bits = reinterpret_cast<uintptr_t>(at) | stride_bytes | 256;
  return static_cast<uint32_t>(bits & -bits);
}

cudaDataType_t type_of(Element element) { return element == Element::kF32 ? CUDA_R_32F : CUDA_R_16BF; }

}  // namespace

size_t Gemm::KeyHash::operator()(const Key& key) const {
  const uint64_t parts[] = {key.m, key.n, key.k, key.x_stride, key.y_stride,
                            key.x_align + 512ull * key.w_align + (key.y_align + 512ull * key.bias_align) * 262144,
                            static_cast<uint64_t>(key.y_type) * 4 + key.adds * 2u + key.has_bias};
  uint64_t hash = 0;
  for (const uint64_t part : parts) hash = (hash ^ part) * 0x9E3779B97F4A7C15u + (hash >> 29);
  return hash;
}

Gemm::Gemm(const Device& device) : device_(device), lt_(lt::library()) {
  device_.use();
  must_lt(lt_.create(&handle_), "open cuBLASLt");
  workspace_ = device_.allocate_raw(kWorkspaceBytes);
}

Gemm::~Gemm() {
  clear();
  (void)lt_.destroy(handle_);
}

void Gemm::release(const Plan& plan) const {
  if (plan.operation != nullptr) (void)lt_.operation_destroy(plan.operation);
  for (const lt::Layout layout : {plan.x, plan.w, plan.y}) {
    if (layout != nullptr) (void)lt_.layout_destroy(layout);
  }
}

void Gemm::clear() {
  for (const auto& [key, plan] : plans_) release(plan);
  plans_.clear();
}

// cuBLASLt counts by columns, so the row-major product is its transpose there: y^T [n][m] = w [n][k] x^T [k][m].
Gemm::Plan Gemm::make(const Product& product, const Key& key) const {
  Plan plan;
  lt::Preference preference = nullptr;
  try {
    must_lt(lt_.operation_create(&plan.operation, lt::kCompute32F, CUDA_R_32F), "plan a product");
    const auto set = [&](int attribute, const auto& value) {
      must_lt(lt_.operation_set(plan.operation, attribute, &value, sizeof value), "plan a product");
    };
    set(lt::kTransposeA, lt::kTranspose);
    set(lt::kEpilogue, product.bias == nullptr ? lt::kEpilogueNone : lt::kEpilogueBias);
    if (product.bias != nullptr) {
      set(lt::kBiasType, static_cast<int32_t>(type_of(product.y_type)));
      set(lt::kBiasPointer, product.bias);
    }
    const cudaDataType_t out = type_of(product.y_type);
    must_lt(lt_.layout_create(&plan.w, CUDA_R_16BF, product.k, product.n, static_cast<int64_t>(product.k)),
            "plan a product");
    must_lt(lt_.layout_create(&plan.x, CUDA_R_16BF, product.k, product.m, static_cast<int64_t>(product.x_stride)),
            "plan a product");
    must_lt(lt_.layout_create(&plan.y, out, product.n, product.m, static_cast<int64_t>(product.y_stride)),
            "plan a product");
    must_lt(lt_.preference_create(&preference), "plan a product");
    const auto prefer = [&](int attribute, const auto& value) {
      must_lt(lt_.preference_set(preference, attribute, &value, sizeof value), "plan a product");
    };
    prefer(lt::kMaxWorkspaceBytes, static_cast<uint64_t>(kWorkspaceBytes));
    prefer(lt::kMinAlignmentA, key.w_align);
    prefer(lt::kMinAlignmentB, key.x_align);
    prefer(lt::kMinAlignmentC, key.y_align);
    prefer(lt::kMinAlignmentD, key.y_align);
    int found = 0;
    const int status = lt_.find(handle_, plan.operation, plan.w, plan.x, plan.y, plan.y, preference, 1,
                                &plan.candidate, &found);
    (void)lt_.preference_destroy(preference);
    preference = nullptr;
    if (status != lt::kSuccess || found < 1 || plan.candidate.status != lt::kSuccess) {
      refuse("multiply on the GPU",
             "cuBLASLt has no way for " + std::to_string(product.m) + " x " + std::to_string(product.n) + " x " +
                 std::to_string(product.k) + " (status " + std::to_string(status) + ")",
             "one");
    }
  } catch (...) {
    if (preference != nullptr) (void)lt_.preference_destroy(preference);
    release(plan);
    throw;
  }
  return plan;
}

void Gemm::run(const Product& product) {
  if (product.m == 0) return;
  const size_t y_bytes = element_bytes(product.y_type);
  const Key key = {product.m, product.n, product.k, product.x_stride, product.y_stride,
                   alignment(product.x, product.x_stride * 2), alignment(product.w, product.k * 2),
                   alignment(product.y, product.y_stride * y_bytes), alignment(product.bias), product.y_type,
                   product.adds, product.bias != nullptr};
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    if (plans_.size() >= kMaxPlans) clear();
    found = plans_.emplace(key, make(product, key)).first;
  }
  const Plan& plan = found->second;
  if (product.bias != nullptr) {
    must_lt(lt_.operation_set(plan.operation, lt::kBiasPointer, &product.bias, sizeof product.bias), "multiply");
  }
  const float alpha = 1;
  const float beta = product.adds ? 1 : 0;
  must_lt(lt_.multiply(handle_, plan.operation, &alpha, product.w, plan.w, product.x, plan.x, &beta, product.y, plan.y,
                       product.y, plan.y, &plan.candidate.algorithm, workspace_.memory.get(), kWorkspaceBytes,
                       device_.stream()),
          "multiply");
}

}  // namespace tessera::cuda
