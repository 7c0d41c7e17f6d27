/** Owns tests of the library stand-ins: right products, and every misuse that the real library would answer for. */
#include <cuda_bf16.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
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
  uint64_t run_n = 0;           // columns that it is run for; 0: those it was found for
  bool is_checked = false;      // for these
  int variant = 0;              // which of the algorithms found
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
  cublasLtMatmulHeuristicResult_t results[4] = {};
  int found = 0;
  int status = cublasLtMatmulAlgoGetHeuristic(handle, operation, a, b, c, d, preference, 4, results, &found);
  const auto& result = results[call.variant];
  if (status == 0) {
    second(call);
    if (call.run_n != 0) {
      for (const auto layout : {b, c, d}) cublasLtMatrixLayoutDestroy(layout);
      cublasLtMatrixLayoutCreate(&b, CUDA_R_16BF, call.k, call.run_n, call.b_ld);
      cublasLtMatrixLayoutCreate(&c, call.c_type, call.m, call.run_n, call.d_ld);
      cublasLtMatrixLayoutCreate(&d, call.d_type, call.m, call.run_n, call.d_ld);
    }
    cublasLtMatmulHeuristicResult_t checked;
    if (call.is_checked) {
      const int answer = cublasLtMatmulAlgoCheck(handle, operation, a, b, c, d, &result.algo, &checked);
      if (answer == 0) call.workspace_bytes = checked.workspaceSize;
    }
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

TEST(an_algorithm_for_another_number_of_columns_must_be_asked_about) {
  Arrays arrays;
  void* const b = on_device(64 * 40 * 2);
  void* const d = on_device(64 * 24 * 4);
  const auto status = [&](int variant, uint64_t found_n, uint64_t run_n, bool is_checked, uint64_t k = 40) {
    const auto plan = [=](Call& call) {
      call.n = found_n, call.variant = variant, call.k = call.a_ld = call.b_ld = k;
      if (k == 40) call.b = b, call.d = d;
    };
    return run(arrays, plan, [=](Call& call) { call.run_n = run_n, call.is_checked = is_checked; });
  };
  CHECK_EQUAL(status(0, 5, 3, false), kInvalidValue);
  CHECK_EQUAL(status(0, 5, 3, true), 0);
  CHECK_EQUAL(status(0, 3, 5, true, 640), 0);  // with the workspace that the check names
  // The last is for few columns alone, and is not found for more.
  CHECK_EQUAL(status(3, 5, 48, true), 0);
  CHECK_EQUAL(status(3, 5, 49, true), kInvalidValue);
  CHECK_EQUAL(status(1, 5, 49, true), 0);
  CHECK_EQUAL(status(3, 49, 5, true), kInvalidValue);
  cudaFree(b);
  cudaFree(d);
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

namespace {

/** A product of bytes, which a test may spoil. */
struct Bytes {
  cudaDataType_t factor = CUDA_R_8I, out = CUDA_R_32I, scale_type = CUDA_R_32I;
  int compute = 72;
  uint64_t m = 16, n = 3, k = 32;
  int64_t ld = 32, d_ld = 16;
  int32_t transpose_a = 1, transpose_b = 0, scale_mode_a = 0, scale_mode_b = 0;
  uint32_t epilogue = 1, alignment = 16;
  int32_t bias_type = -1;
  int32_t alpha_int = 1;
  bool has_scales = false, are_scales_short = false;
};

const auto kFp8 = [](Bytes& call) {
  call.factor = CUDA_R_8F_E4M3, call.out = CUDA_R_32F, call.scale_type = CUDA_R_32F, call.compute = 68;
};

/** Status of the call, and what came of it. */
int run_bytes(const std::function<void(Bytes&)>& spoil, std::vector<uint32_t>* result = nullptr) {
  Bytes call;
  spoil(call);
  std::vector<uint8_t> a(16 * 32), b(16 * 32);
  for (size_t i = 0; i < a.size(); i++) a[i] = static_cast<uint8_t>(i * 7 % 100), b[i] = static_cast<uint8_t>(i * 5 % 90 + 128);
  std::vector<float> scales;
  for (int i = 0; i < 16; i++) scales.push_back(static_cast<float>(i + 1));
  char* memory = static_cast<char*>(on_device(16384));
  cudaMemcpy(memory, a.data(), a.size(), cudaMemcpyHostToDevice);
  cudaMemcpy(memory + 1024, b.data(), b.size(), cudaMemcpyHostToDevice);
  cudaMemcpy(memory + 2048, scales.data(), 64, cudaMemcpyHostToDevice);
  cudaMemset(memory + 3072, 0, 1024);
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a_layout = nullptr, b_layout = nullptr, d_layout = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtCreate(&handle);
  cublasLtMatmulDescCreate(&operation, call.compute, call.scale_type);
  const auto set = [&](int attribute, const auto& value) {
    cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value);
  };
  set(3, call.transpose_a), set(4, call.transpose_b), set(7, call.epilogue);
  set(26, call.bias_type), set(31, call.scale_mode_a), set(32, call.scale_mode_b);
  const void* const bias = memory + 3072;
  set(8, bias);
  if (call.has_scales) {
    const void* const own = call.are_scales_short ? memory + 16384 - 8 : memory + 2048;
    set(17, own), set(18, own);
  }
  cublasLtMatrixLayoutCreate(&a_layout, call.factor, call.k, call.m, call.ld);
  cublasLtMatrixLayoutCreate(&b_layout, call.factor, call.k, call.n, call.ld);
  cublasLtMatrixLayoutCreate(&d_layout, call.out, call.m, call.n, call.d_ld);
  cublasLtMatmulPreferenceCreate(&preference);
  for (int i = 5; i <= 8; i++) cublasLtMatmulPreferenceSetAttribute(preference, i, &call.alignment, sizeof call.alignment);
  cublasLtMatmulHeuristicResult_t found_result;
  int found = 0;
  int status = cublasLtMatmulAlgoGetHeuristic(handle, operation, a_layout, b_layout, d_layout, d_layout, preference, 1,
                                              &found_result, &found);
  if (status == 0) {
    const float alpha_float = 1, beta_float = 0;
    const int32_t beta_int = 0;
    const bool is_whole = call.scale_type == CUDA_R_32I;
    const void* alpha = is_whole ? static_cast<const void*>(&call.alpha_int) : &alpha_float;
    const void* beta = is_whole ? static_cast<const void*>(&beta_int) : &beta_float;
    status = cublasLtMatmul(handle, operation, alpha, memory, a_layout, memory + 1024, b_layout, beta, memory + 4096,
                            d_layout, memory + 4096, d_layout, &found_result.algo, nullptr, 0, nullptr);
  }
  if (result != nullptr) {
    result->resize(16 * 3);
    cudaMemcpy(result->data(), memory + 4096, result->size() * 4, cudaMemcpyDeviceToHost);
  }
  cublasLtMatmulPreferenceDestroy(preference);
  for (const auto layout : {a_layout, b_layout, d_layout}) cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulDescDestroy(operation);
  cublasLtDestroy(handle);
  cudaFree(memory);
  return status;
}

/** E4M3 by its definition. */
float e4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                        : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

}  // namespace

TEST(products_of_int8_are_whole_numbers) {
  std::vector<uint32_t> sums;
  CHECK_EQUAL(run_bytes([](Bytes&) {}, &sums), 0);
  for (int n = 0; n < 3; n++) {
    for (int m = 0; m < 16; m++) {
      int32_t expected = 0;
      for (int k = 0; k < 32; k++) {
        expected += static_cast<int8_t>((m * 32 + k) * 7 % 100) * static_cast<int8_t>((n * 32 + k) * 5 % 90 + 128);
      }
      CHECK_EQUAL(static_cast<int32_t>(sums[n * 16 + m]), expected);
    }
  }
}

TEST(products_of_fp8_are_scaled_as_a_whole_or_by_lines) {
  for (const int32_t mode : {0, 3}) {
    std::vector<uint32_t> bits;
    const auto call = [mode](Bytes& call) { kFp8(call), call.has_scales = true, call.scale_mode_a = call.scale_mode_b = mode; };
    CHECK_EQUAL(run_bytes(call, &bits), 0);
    for (int n = 0; n < 3; n++) {
      for (int m = 0; m < 16; m++) {
        double expected = 0;
        for (int k = 0; k < 32; k++) {
          expected += e4m3(static_cast<uint8_t>((m * 32 + k) * 7 % 100)) * e4m3(static_cast<uint8_t>((n * 32 + k) * 5 % 90 + 128));
        }
        if (mode == 3) expected *= (m + 1) * (n + 1);
        float got;
        std::memcpy(&got, &bits[n * 16 + m], sizeof got);
        CHECK(std::fabs(got - expected) <= 1e-5 * (1 + std::fabs(expected)));
      }
    }
  }
}

TEST(what_the_library_does_not_multiply_of_int8) {
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.scale_type = CUDA_R_32F; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.out = CUDA_R_32F; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.epilogue = 4; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.transpose_b = 1, call.n = 32; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.m = 14; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.k = 30; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.d_ld = 18; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.alignment = 2; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.alpha_int = 2; }), kNotSupported);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.has_scales = true; }), kInvalidValue);
  CHECK_EQUAL(run_bytes([](Bytes& call) { call.compute = 68, call.scale_type = CUDA_R_32F, call.out = CUDA_R_32F; }),
              kNotSupported);
}

TEST(what_the_library_does_not_multiply_of_fp8) {
  const auto status = [](const std::function<void(Bytes&)>& spoil) {
    return run_bytes([&](Bytes& call) { kFp8(call), spoil(call); });
  };
  const auto lines = [](Bytes& call) { call.scale_mode_a = call.scale_mode_b = 3; };
  CHECK_EQUAL(status([](Bytes& call) { call.transpose_a = 0, call.k = 16; }), kNotSupported);
  CHECK_EQUAL(status([](Bytes& call) { call.m = 12; }), kNotSupported);
  CHECK_EQUAL(status([](Bytes& call) { call.k = 24; }), kNotSupported);
  CHECK_EQUAL(status([](Bytes& call) { call.alignment = 8; }), kNotSupported);
  CHECK_EQUAL(status([](Bytes& call) { call.d_ld = 17; }), kNotSupported);
  CHECK_EQUAL(status([](Bytes& call) { call.epilogue = 4; }), kNotSupported);  // the bias would be fp32
  CHECK_EQUAL(status([](Bytes& call) { call.epilogue = 4, call.bias_type = CUDA_R_16BF; }), 0);
  CHECK_EQUAL(status([&](Bytes& call) { lines(call); }), kInvalidValue);  // without scales
  CHECK_EQUAL(status([&](Bytes& call) { lines(call), call.scale_mode_b = 0; }), kNotSupported);
  CHECK_EQUAL(status([&](Bytes& call) { lines(call), call.has_scales = call.are_scales_short = true; }), kInvalidValue);
  setenv("CUEMU_ARCH", "89", 1);
  CHECK_EQUAL(status([](Bytes&) {}), 0);
  CHECK_EQUAL(status([&](Bytes& call) { lines(call), call.has_scales = true; }), kNotSupported);
  setenv("CUEMU_ARCH", "80", 1);
  CHECK_EQUAL(status([](Bytes&) {}), kNotSupported);
  unsetenv("CUEMU_ARCH");
}

TEST(libraries_by_name) {
  void* library = cuemu::open_library("libcublasLt.so.13");
  CHECK(library != nullptr);
  CHECK(cuemu::find_symbol(library, "cublasLtMatmul") != nullptr);
  CHECK(cuemu::find_symbol(library, "cublasLtNothing") == nullptr);
  CHECK(cuemu::open_library("libnothing.so") == nullptr);
}
