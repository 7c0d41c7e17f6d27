/** Owns tests of the library stand-ins: right products, and every misuse that the real library would answer for. */
#include <cuda_bf16.h>

#include <cmath>
#include <functional>
#include <vector>

#include "libraries/cublaslt.h"
#include "libraries/libraries.h"
#include "tests/check.h"

namespace {

constexpr int kInvalidValue = 7;
constexpr int kNotSupported = 15;

/** One product, which a test may spoil before its algorithm is found (`first`) or before it runs (`second`). */
struct Call {
  uint64_t m = 24, n = 5, k = 40;
  cudaDataType_t factor = CUDA_R_16BF, c_type = CUDA_R_32F, d_type = CUDA_R_32F;
  int compute = 68;
  int64_t a_ld = 40, b_ld = 40, d_ld = 24;
  uint32_t epilogue = 4, alignment = 16;
  uint64_t workspace_limit = 1 << 20;
  size_t workspace_bytes = 1 << 20;
  bool has_bias = true, is_other_operation = false;
  void* a = nullptr;
  void* b = nullptr;
  void* d = nullptr;
  void* workspace = nullptr;
  void* bias = nullptr;
};

void* on_device(size_t bytes) {
  void* at = nullptr;
  cudaMalloc(&at, bytes);
  return at;
}

struct Arrays {
  void* a = on_device(24 * 640 * 2);
  void* b = on_device(5 * 640 * 2);
  void* d = on_device(24 * 5 * 4);
  void* bias = on_device(24 * 4);
  void* workspace = on_device(1 << 20);
  ~Arrays() {
    for (void* at : {a, b, d, bias, workspace}) cudaFree(at);
  }
};

int run(Arrays& arrays, const std::function<void(Call&)>& first, const std::function<void(Call&)>& second) {
  Call call;
  call.a = arrays.a, call.b = arrays.b, call.d = arrays.d, call.bias = arrays.bias, call.workspace = arrays.workspace;
  first(call);
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr, d = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtCreate(&handle);
  cublasLtMatmulDescCreate(&operation, call.compute, CUDA_R_32F);
  const int32_t transpose = 1;
  cublasLtMatmulDescSetAttribute(operation, 3, &transpose, sizeof transpose);
  cublasLtMatmulDescSetAttribute(operation, 7, &call.epilogue, sizeof call.epilogue);
  if (call.has_bias) cublasLtMatmulDescSetAttribute(operation, 8, &call.bias, sizeof call.bias);
  cublasLtMatrixLayoutCreate(&a, call.factor, call.k, call.m, call.a_ld);
  cublasLtMatrixLayoutCreate(&b, CUDA_R_16BF, call.k, call.n, call.b_ld);
  cublasLtMatrixLayoutCreate(&c, call.c_type, call.m, call.n, call.d_ld);
  cublasLtMatrixLayoutCreate(&d, call.d_type, call.m, call.n, call.d_ld);
  cublasLtMatmulPreferenceCreate(&preference);
  cublasLtMatmulPreferenceSetAttribute(preference, 1, &call.workspace_limit, sizeof call.workspace_limit);
  for (int i = 5; i <= 8; i++) cublasLtMatmulPreferenceSetAttribute(preference, i, &call.alignment, sizeof call.alignment);
  cublasLtMatmulHeuristicResult_t result;
  int found = 0;
  int status = cublasLtMatmulAlgoGetHeuristic(handle, operation, a, b, c, d, preference, 1, &result, &found);
  if (status == 0) {
    second(call);
    const uint32_t none = 1;
    if (call.is_other_operation) cublasLtMatmulDescSetAttribute(operation, 7, &none, sizeof none);
    const float alpha = 1, beta = 0;
    status = cublasLtMatmul(handle, operation, &alpha, call.a, a, call.b, b, &beta, call.d, c, call.d, d, &result.algo,
                            call.workspace, call.workspace_bytes, nullptr);
  }
  cublasLtMatmulPreferenceDestroy(preference);
  for (const auto layout : {a, b, c, d}) cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulDescDestroy(operation);
  cublasLtDestroy(handle);
  return status;
}

void nothing(Call&) {}

void* behind(void* at, size_t bytes) { return static_cast<char*>(at) + bytes; }

}  // namespace

TEST(a_product_with_bias) {
  Arrays arrays;
  std::vector<__nv_bfloat16> a(24 * 40), b(5 * 40);
  std::vector<float> bias(24), d(24 * 5);
  for (size_t i = 0; i < a.size(); i++) a[i] = __float2bfloat16(static_cast<float>(i * 7 % 13) - 6);
  for (size_t i = 0; i < b.size(); i++) b[i] = __float2bfloat16(static_cast<float>(i * 5 % 11) - 5);
  for (size_t i = 0; i < bias.size(); i++) bias[i] = static_cast<float>(i);
  cudaMemcpy(arrays.a, a.data(), a.size() * 2, cudaMemcpyHostToDevice);
  cudaMemcpy(arrays.b, b.data(), b.size() * 2, cudaMemcpyHostToDevice);
  cudaMemcpy(arrays.bias, bias.data(), bias.size() * 4, cudaMemcpyHostToDevice);
  CHECK_EQUAL(run(arrays, nothing, nothing), 0);
  cudaMemcpy(d.data(), arrays.d, d.size() * 4, cudaMemcpyDeviceToHost);
  for (int n = 0; n < 5; n++) {
    for (int m = 0; m < 24; m++) {
      float expected = bias[m];
      for (int k = 0; k < 40; k++) expected += __bfloat162float(a[m * 40 + k]) * __bfloat162float(b[n * 40 + k]);
      CHECK_EQUAL(d[n * 24 + m], expected);
    }
  }
}

TEST(what_the_library_has_no_algorithm_for) {
  Arrays arrays;
  const auto status = [&](const std::function<void(Call&)>& spoil) { return run(arrays, spoil, nothing); };
  CHECK_EQUAL(status([](Call& call) { call.compute = 64; }), kNotSupported);
  CHECK_EQUAL(status([](Call& call) { call.factor = CUDA_R_32F; }), kNotSupported);
  CHECK_EQUAL(status([](Call& call) { call.c_type = CUDA_R_16BF; }), kNotSupported);
  CHECK_EQUAL(status([](Call& call) { call.epilogue = 4 | 128; }), kNotSupported);
  CHECK_EQUAL(status([](Call& call) { call.has_bias = false; }), kInvalidValue);
  CHECK_EQUAL(status([](Call& call) { call.b_ld = 39; }), kInvalidValue);
  CHECK_EQUAL(status([](Call& call) { call.n = 0; }), kInvalidValue);
  CHECK_EQUAL(status([](Call& call) { call.alignment = 3; }), kInvalidValue);
  CHECK_EQUAL(status([](Call& call) { call.a_ld = 41; }), kInvalidValue);  // lines of 82 bytes are not 16-aligned
}

TEST(what_a_run_must_keep_of_what_was_planned) {
  Arrays arrays;
  const auto status = [&](const std::function<void(Call&)>& spoil) { return run(arrays, nothing, spoil); };
  CHECK_EQUAL(status([](Call& call) { call.a = behind(call.a, 2); }), kInvalidValue);
  CHECK_EQUAL(status([](Call& call) { call.d = behind(call.d, 16); }), kInvalidValue);  // reaches beyond its memory
  CHECK_EQUAL(status([](Call& call) { call.is_other_operation = true; }), kInvalidValue);
  const auto deep = [](Call& call) { call.k = 640, call.a_ld = 640, call.b_ld = 640; };
  CHECK_EQUAL(run(arrays, deep, nothing), 0);
  CHECK_EQUAL(run(arrays, deep, [](Call& call) { call.workspace_bytes = 16; }), kInvalidValue);
  CHECK_EQUAL(run(arrays, deep, [](Call& call) { call.workspace = behind(call.workspace, 8); }), kInvalidValue);
  std::vector<float> host(24 * 5);
  CHECK_EQUAL(status([&](Call& call) { call.d = host.data(); }), kInvalidValue);
}

TEST(libraries_by_name) {
  void* library = cuemu::open_library("libcublasLt.so.13");
  CHECK(library != nullptr);
  CHECK(cuemu::find_symbol(library, "cublasLtMatmul") != nullptr);
  CHECK(cuemu::find_symbol(library, "cublasLtNothing") == nullptr);
  CHECK(cuemu::open_library("libnothing.so") == nullptr);
}
