#include "ops/cuda/blas/gemm.h"

#include <algorithm>
#include <cmath>
#include <iterator>
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

cudaDataType_t result_type(const Product& product) {
  return product.factors == Factors::kInt8 ? CUDA_R_32I : type_of(product.y_type);
}

cudaDataType_t factor_type(Factors factors) {
  return factors == Factors::kInt8 ? CUDA_R_8I : factors == Factors::kFp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
}

size_t factor_bytes(Factors factors) { return factors == Factors::kBf16 ? 2 : 1; }

}  // namespace

size_t Gemm::KeyHash::operator()(const Key& key) const {
  const uint64_t parts[] = {key.m, key.n, key.k, key.x_stride, key.y_stride,
                            key.x_align + 512ull * key.w_align + (key.y_align + 512ull * key.bias_align) * 262144,
                            static_cast<uint64_t>(key.y_type) * 32 + static_cast<uint64_t>(key.factors) * 8 +
                                key.scales_rows * 4u + key.adds * 2u + key.has_bias};
  uint64_t hash = 0;
  for (const uint64_t part : parts) hash = (hash ^ part) * 0x9E3779B97F4A7C15u + (hash >> 29);
  return hash;
}

std::string Gemm::Key::text() const {
  std::string out = factors == Factors::kInt8 ? "int8" : factors == Factors::kFp8 ? "fp8" : "bf16";
  for (const uint64_t part : {m, n, k, x_stride, y_stride, uint64_t{x_align}, uint64_t{w_align}, uint64_t{y_align},
                              uint64_t{bias_align}}) {
    out += " " + std::to_string(part);
  }
  return out + (y_type == Element::kF32 ? " fp32" : " bf16") + (adds ? " adds" : "") + (has_bias ? " bias" : "") +
         (scales_rows ? " scaled rows" : "");
}

Gemm::Key Gemm::Key::of_any_rows() const {
  Key out = *this;
  out.m = 0;
  return out;
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
Gemm::Plan Gemm::make(const Product& product, const Key& key) {
  Plan plan;
  try {
    const bool is_int8 = product.factors == Factors::kInt8;
    must_lt(lt_.operation_create(&plan.operation, is_int8 ? lt::kCompute32I : lt::kCompute32F,
                                 is_int8 ? CUDA_R_32I : CUDA_R_32F),
            "plan a product");
    const auto set = [&](int attribute, const auto& value) {
      must_lt(lt_.operation_set(plan.operation, attribute, &value, sizeof value), "plan a product");
    };
    set(lt::kTransposeA, lt::kTranspose);
    set(lt::kEpilogue, product.bias == nullptr ? lt::kEpilogueNone : lt::kEpilogueBias);
    if (product.bias != nullptr) {
      set(lt::kBiasType, static_cast<int32_t>(product.factors == Factors::kFp8 ? CUDA_R_16BF : type_of(product.y_type)));
      set(lt::kBiasPointer, product.bias);
    }
    if (product.factors == Factors::kFp8) {
      const int32_t mode = product.scales_rows ? lt::kScaleLines : lt::kScaleMatrix;
      set(lt::kScaleModeA, mode);
      set(lt::kScaleModeB, mode);
      set(lt::kScalePointerA, product.w_scales);
      set(lt::kScalePointerB, product.x_scales);
    }
    const cudaDataType_t factor = factor_type(product.factors);
    const cudaDataType_t out = result_type(product);
    must_lt(lt_.layout_create(&plan.w, factor, product.k, product.n, static_cast<int64_t>(product.k)),
            "plan a product");
    must_lt(lt_.layout_create(&plan.x, factor, product.k, product.m, static_cast<int64_t>(product.x_stride)),
            "plan a product");
    must_lt(lt_.layout_create(&plan.y, out, product.n, product.m, static_cast<int64_t>(product.y_stride)),
            "plan a product");
    plan.candidate = choose(plan, product, key);
  } catch (...) {
    release(plan);
    throw;
  }
  return plan;
}

std::vector<lt::Candidate> Gemm::find(const Plan& plan, const Key& key, int most) const {
  lt::Preference preference = nullptr;
  must_lt(lt_.preference_create(&preference), "plan a product");
  const auto prefer = [&](int attribute, const auto& value) {
    return lt_.preference_set(preference, attribute, &value, sizeof value);
  };
  int status = prefer(lt::kMaxWorkspaceBytes, static_cast<uint64_t>(kWorkspaceBytes));
  if (status == lt::kSuccess) status = prefer(lt::kMinAlignmentA, key.w_align);
  if (status == lt::kSuccess) status = prefer(lt::kMinAlignmentB, key.x_align);
  if (status == lt::kSuccess) status = prefer(lt::kMinAlignmentC, key.y_align);
  if (status == lt::kSuccess) status = prefer(lt::kMinAlignmentD, key.y_align);
  std::vector<lt::Candidate> candidates(static_cast<size_t>(most));
  int found = 0;
  if (status == lt::kSuccess) {
    status = lt_.find(handle_, plan.operation, plan.w, plan.x, plan.y, plan.y, preference, most, candidates.data(), &found);
  }
  (void)lt_.preference_destroy(preference);
  candidates.resize(status == lt::kSuccess ? static_cast<size_t>(found) : 0);
  std::erase_if(candidates, [](const lt::Candidate& each) { return each.status != lt::kSuccess; });
  if (candidates.empty()) {
    refuse("multiply on the GPU",
           "cuBLASLt has no way for " + std::to_string(key.m) + " x " + std::to_string(key.n) + " x " +
               std::to_string(key.k) + " (status " + std::to_string(status) + ")",
           "one");
  }
  return candidates;
}

lt::Candidate Gemm::choose(const Plan& plan, const Product& product, const Key& key) {
  if (is_tuning_) {
    const lt::Candidate candidate = tuned(plan, product, key);
    tuned_[key.of_any_rows()][key.m] = candidate.algorithm;
    return candidate;
  }
  const std::optional<lt::Candidate> candidate = of_like(plan, key);
  return candidate ? *candidate : find(plan, key, 1)[0];
}

std::optional<lt::Candidate> Gemm::of_like(const Plan& plan, const Key& key) const {
  const auto found = tuned_.find(key.of_any_rows());
  if (found == tuned_.end()) return {};
  const auto& by_rows = found->second;
  const auto more = by_rows.lower_bound(key.m);
  std::optional<lt::Candidate> candidate;
  if (more != by_rows.end()) candidate = check(plan, more->second);
  if (!candidate && more != by_rows.begin()) candidate = check(plan, std::prev(more)->second);
  return candidate;
}

std::optional<lt::Candidate> Gemm::check(const Plan& plan, const lt::Algorithm& algorithm) const {
  lt::Candidate candidate = {.algorithm = algorithm, .workspace_bytes = 0, .status = lt::kSuccess, .waves = 0, .reserved = {}};
  const int status = lt_.check(handle_, plan.operation, plan.w, plan.x, plan.y, plan.y, &algorithm, &candidate);
  candidate.algorithm = algorithm;
  if (status != lt::kSuccess || candidate.status != lt::kSuccess || candidate.workspace_bytes > kWorkspaceBytes) return {};
  return candidate;
}

lt::Candidate Gemm::tuned(const Plan& plan, const Product& product, const Key& key) {
  const std::string name = key.text();
  if (const lt::Algorithm* kept = algorithms_.find(name); kept != nullptr) {
    // The library says itself whether it is still one of its own for this.
    if (const std::optional<lt::Candidate> candidate = check(plan, *kept); candidate) {
      num_kept_++;
      return *candidate;
    }
  }
  const std::vector<lt::Candidate> candidates = find(plan, key, kTried);
  const lt::Candidate* best = &candidates[0];
  float best_ms = INFINITY;
  for (const lt::Candidate& candidate : candidates) {
    const float ms = measure(plan, product, candidate);
    if (ms < best_ms) {
      best = &candidate;
      best_ms = ms;
    }
  }
  algorithms_.keep(name, best->algorithm);
  num_measured_++;
  return *best;
}

float Gemm::measure(const Plan& plan, const Product& product, const lt::Candidate& candidate) const {
  if (launch(plan, product, candidate) != lt::kSuccess) return INFINITY;  // the first run loads its code
  const TimedEvent begin, end;
  begin.record(device_.stream());
  for (int i = 0; i < kMeasuredRuns; i++) {
    if (launch(plan, product, candidate) != lt::kSuccess) return INFINITY;
  }
  end.record(device_.stream());
  return end.ms_since(begin);
}

std::string Gemm::tune(const std::string& folder, const std::function<void()>& work) {
  int driver = 0;
  must(cudaDriverGetVersion(&driver), "ask for the driver's version");
  algorithms_.open(folder, {device_.name(), driver, lt_.version()});
  num_kept_ = num_measured_ = 0;
  is_tuning_ = true;
  try {
    work();
  } catch (...) {
    is_tuning_ = false;
    throw;
  }
  is_tuning_ = false;
  algorithms_.save();
  return std::to_string(num_kept_) + " kept, " + std::to_string(num_measured_) + " measured";
}

int Gemm::launch(const Plan& plan, const Product& product, const lt::Candidate& candidate) const {
  const auto point = [&](int attribute, const void* at) {
    return lt_.operation_set(plan.operation, attribute, &at, sizeof at);
  };
  int status = product.bias == nullptr ? lt::kSuccess : point(lt::kBiasPointer, product.bias);
  if (product.factors == Factors::kFp8) {
    if (status == lt::kSuccess) status = point(lt::kScalePointerA, product.w_scales);
    if (status == lt::kSuccess) status = point(lt::kScalePointerB, product.x_scales);
  }
  if (status != lt::kSuccess) return status;
  // Of the scale type.
  const float alpha_float = 1, beta_float = product.adds ? 1 : 0;
  const int32_t alpha_int = 1, beta_int = 0;
  const bool is_int8 = product.factors == Factors::kInt8;
  const void* alpha = is_int8 ? static_cast<const void*>(&alpha_int) : &alpha_float;
  const void* beta = is_int8 ? static_cast<const void*>(&beta_int) : &beta_float;
  return lt_.multiply(handle_, plan.operation, alpha, product.w, plan.w, product.x, plan.x, beta, product.y, plan.y,
                      product.y, plan.y, &candidate.algorithm, workspace_.memory.get(), kWorkspaceBytes,
                      device_.stream());
}

void Gemm::run(const Product& product) {
  if (product.m == 0) return;
  const size_t y_bytes = product.factors == Factors::kInt8 ? sizeof(int32_t) : element_bytes(product.y_type);
  const size_t x_bytes = factor_bytes(product.factors);
  const Key key = {product.m, product.n, product.k, product.x_stride, product.y_stride,
                   alignment(product.x, product.x_stride * x_bytes), alignment(product.w, product.k * x_bytes),
                   alignment(product.y, product.y_stride * y_bytes), alignment(product.bias), product.y_type,
                   product.factors, product.adds, product.bias != nullptr, product.scales_rows};
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    if (plans_.size() >= kMaxPlans) clear();
    found = plans_.emplace(key, make(product, key)).first;
  }
  const Plan& plan = found->second;
  must_lt(launch(plan, product, plan.candidate), "multiply");
}

}  // namespace tessera::cuda
