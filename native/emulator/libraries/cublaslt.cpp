/**
 * Checks what the real library checks, and some that it leaves to chance: sizes of attributes, types that go together,
 * shapes, leading dimensions, promised alignment against the pointers given, workspace, and that every array lies whole
 * in memory the device may touch. An algorithm is good for the configuration it was found for, and for another number of D's
 * columns once cublasLtMatmulAlgoCheck has said so; each has its own bounds and workspace there. Products are summed
 * in fp32 along k, in an order that depends on k alone, those of int8 in int32. GELU is the tanh approximation, as in the
 * real one. Of int8 and FP8 there is what the documentation of cublasLtMatmul says of them.
 */
#include "libraries/cublaslt.h"

#include <cmath>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "device/access.h"
#include "libraries/product.h"
#include "runtime/runtime.h"

using cuemu::Product;

namespace {

constexpr int kSuccess = 0;
constexpr int kNotInitialized = 1;
constexpr int kInvalidValue = 7;
constexpr int kNotSupported = 15;

constexpr int kCompute32F = 68;
constexpr int kCompute32I = 72;
constexpr size_t kVersion = 130002;
constexpr uint64_t kMagic = 0x6375626C61734C74;

size_t bytes_of(cudaDataType_t type) {
  switch (type) {
    case CUDA_R_32F:
    case CUDA_R_32I: return 4;
    case CUDA_R_8I:
    case CUDA_R_8F_E4M3: return 1;
    default: return 2;
  }
}

cuemu::Number number_of(cudaDataType_t type) {
  switch (type) {
    case CUDA_R_32F: return cuemu::Number::kFloat;
    case CUDA_R_32I: return cuemu::Number::kInt32;
    case CUDA_R_8I: return cuemu::Number::kInt8;
    case CUDA_R_8F_E4M3: return cuemu::Number::kFp8;
    default: return cuemu::Number::kBf16;
  }
}

int refuse(int status, const char* what) {
  cuemu::warn(std::string("cuBLASLt: ") + what);
  return status;
}

template <class T>
int store(T& target, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof target) return refuse(kInvalidValue, "an attribute of another size");
  std::memcpy(&target, value, bytes);
  return kSuccess;
}

}  // namespace

struct cublasLtContext {
  uint64_t magic = kMagic;
  int device = 0;
  /** Configurations, with the algorithms that were said to be good for them beside those found for them. */
  std::set<std::pair<uint64_t, uint32_t>> checked;
};
struct cublasLtMatmulDescState {
  int compute;
  cudaDataType_t scale;
  int32_t transposes[2] = {0, 0};
  uint32_t epilogue = 1;
  const void* bias = nullptr;
  int32_t bias_type = -1;
  const void* scales[2] = {nullptr, nullptr};
  int32_t scale_modes[2] = {0, 0};
};
struct cublasLtMatrixLayoutState {
  cudaDataType_t type;
  uint64_t rows;
  uint64_t cols;
  int64_t ld;

  /** From the first element to the end of the last. */
  size_t span_bytes() const { return cols == 0 ? 0 : ((cols - 1) * ld + rows) * bytes_of(type); }
  bool operator==(const cublasLtMatrixLayoutState&) const = default;
};
struct cublasLtMatmulPreferenceState {
  uint64_t workspace_bytes = 0;
  uint32_t alignments[4] = {256, 256, 256, 256};
};

namespace {

/** cublasLtMatmulMatrixScale_t: one number for a matrix, one for each line. */
constexpr int32_t kScaleMatrix = 0;
constexpr int32_t kScaleLines = 3;

constexpr uint32_t kBiasFlag = 4;
constexpr uint32_t kReluFlag = 2;
constexpr uint32_t kGeluFlag = 32;

/** What an algorithm is good for; kept inside it. */
struct Recipe {
  uint64_t magic;
  uint64_t configuration;
  uint64_t like;  // the configuration without the number of columns
  uint32_t alignments[4];
  uint32_t variant;
  uint32_t splits;  // sums over blocks, where that is of use
};
static_assert(sizeof(Recipe) <= sizeof(cublasLtMatmulAlgo_t));

/** Without `has_columns` the same for every number of columns of D. */
uint64_t configuration_of(const cublasLtMatmulDescState& operation, const cublasLtMatrixLayoutState* const (&layouts)[4],
                          bool has_columns = true) {
  uint64_t hash = operation.epilogue * 31 + operation.transposes[0] * 7 + operation.transposes[1] +
                  operation.scale_modes[0] * 1009 + operation.scale_modes[1] * 2003 + operation.compute * 4001;
  // D's columns are op(B)'s, and C's.
  const uint64_t* const columns[] = {nullptr, operation.transposes[1] ? &layouts[1]->rows : &layouts[1]->cols,
                                     &layouts[2]->cols, &layouts[3]->cols};
  for (int i = 0; i < 4; i++) {
    const auto& layout = *layouts[i];
    const auto size = [&](const uint64_t& value) { return !has_columns && &value == columns[i] ? 0 : value; };
    for (const uint64_t part : {static_cast<uint64_t>(layout.type), size(layout.rows), size(layout.cols),
                                static_cast<uint64_t>(layout.ld)}) {
      hash = (hash ^ part) * 0x9E3779B97F4A7C15u + (hash >> 31);
    }
  }
  return hash;
}

/** Types that go together. */
int check_types(const cublasLtMatmulDescState& operation, const cublasLtMatrixLayoutState* const (&layouts)[4]) {
  const auto& [a, b, c, d] = layouts;
  if (c->type != d->type) return refuse(kNotSupported, "C and D of unlike types");
  if (a->type != b->type) return refuse(kNotSupported, "factors of unlike types");
  if (operation.compute == kCompute32I) {
    if (operation.scale != CUDA_R_32I || a->type != CUDA_R_8I || d->type != CUDA_R_32I) {
      return refuse(kNotSupported, "CUBLAS_COMPUTE_32I of other than int8 with sums and scales of int32");
    }
    return operation.epilogue == 1 ? kSuccess : refuse(kNotSupported, "an epilogue to sums of int32");
  }
  if (operation.compute != kCompute32F || operation.scale != CUDA_R_32F) {
    return refuse(kNotSupported, "a compute type other than CUBLAS_COMPUTE_32F with fp32 scales");
  }
  if (a->type != CUDA_R_16BF && a->type != CUDA_R_8F_E4M3) return refuse(kNotSupported, "factors other than bf16 and E4M3");
  if (d->type != CUDA_R_16BF && d->type != CUDA_R_32F) return refuse(kNotSupported, "a D of neither bf16 nor fp32");
  return kSuccess;
}

/** What tensor cores want of bytes: transposed A, plain B, and steps that are whole words. */
int check_bytes(const cublasLtMatmulDescState& operation, const cublasLtMatrixLayoutState* const (&layouts)[4],
                uint64_t m, uint64_t k) {
  const bool is_fp8 = layouts[0]->type == CUDA_R_8F_E4M3;
  if (!operation.transposes[0] || operation.transposes[1]) return refuse(kNotSupported, "8 bits in another format than TN");
  const uint64_t step = is_fp8 ? 16 : 4;
  if (m % step != 0 || k % step != 0) return refuse(kNotSupported, "8 bits and an m or k that is no whole step");
  for (const auto* layout : layouts) {
    const uint64_t line = is_fp8 ? layout->ld * bytes_of(layout->type) : layout->ld;
    if (line % step != 0) return refuse(kNotSupported, "8 bits and a leading dimension that is no whole step");
  }
  return kSuccess;
}

/** Scales are of FP8 alone, of both matrices alike; those of lines are Hopper's. */
int check_scales(const cublasLtMatmulDescState& operation, bool is_fp8) {
  const auto& modes = operation.scale_modes;
  const bool has_scale = operation.scales[0] != nullptr || operation.scales[1] != nullptr;
  if (!is_fp8) {
    return has_scale || modes[0] != 0 || modes[1] != 0 ? refuse(kInvalidValue, "scales of other factors than FP8") : kSuccess;
  }
  if (cuemu::Runtime::capability() < 89) return refuse(kNotSupported, "FP8 below sm_89");
  if (modes[0] != modes[1] || (modes[0] != kScaleMatrix && modes[0] != kScaleLines)) {
    return refuse(kNotSupported, "scale modes that are unlike, or of blocks");
  }
  if (modes[0] == kScaleMatrix) return kSuccess;
  if (cuemu::Runtime::capability() != 90) return refuse(kNotSupported, "scales of lines on another GPU than sm_90");
  return operation.scales[0] != nullptr && operation.scales[1] != nullptr
             ? kSuccess : refuse(kInvalidValue, "scales of lines that are not there");
}

/** Whether op(a) op(b) fits c and d in shape and type. */
int check(const cublasLtMatmulDescState& operation, const cublasLtMatrixLayoutState* const (&layouts)[4]) {
  const auto& [a, b, c, d] = layouts;
  if (const int status = check_types(operation, layouts); status != kSuccess) return status;
  const bool is_fp8 = a->type == CUDA_R_8F_E4M3;
  if (const int status = check_scales(operation, is_fp8); status != kSuccess) return status;
  const uint64_t m = operation.transposes[0] ? a->cols : a->rows;
  const uint64_t k = operation.transposes[0] ? a->rows : a->cols;
  const uint64_t n = operation.transposes[1] ? b->rows : b->cols;
  const uint64_t b_k = operation.transposes[1] ? b->cols : b->rows;
  if (m == 0 || n == 0 || k == 0) return refuse(kInvalidValue, "an empty product");
  if (b_k != k || c->rows != m || d->rows != m || c->cols != n || d->cols != n) {
    return refuse(kInvalidValue, "shapes that do not fit");
  }
  for (const auto* layout : layouts) {
    if (layout->ld < static_cast<int64_t>(layout->rows)) return refuse(kInvalidValue, "a leading dimension below the rows");
  }
  if (bytes_of(a->type) == 1) {
    if (const int status = check_bytes(operation, layouts, m, k); status != kSuccess) return status;
  }
  constexpr uint32_t kKnown[] = {1, kReluFlag, kBiasFlag, kReluFlag | kBiasFlag, kGeluFlag, kGeluFlag | kBiasFlag};
  bool is_known = false;
  for (const uint32_t epilogue : kKnown) is_known = is_known || epilogue == operation.epilogue;
  if (!is_known) return refuse(kNotSupported, "an epilogue that nothing here needs");
  if ((operation.epilogue & kBiasFlag) != 0) {
    if (operation.bias == nullptr) return refuse(kInvalidValue, "a bias epilogue without a bias");
    const auto wanted = static_cast<int32_t>(is_fp8 ? CUDA_R_16BF : d->type);
    if (operation.bias_type != wanted && (operation.bias_type != -1 || wanted != static_cast<int32_t>(d->type))) {
      return refuse(kNotSupported, "a bias of another type than D, or than bf16 to FP8");
    }
  }
  return kSuccess;
}

/** Few columns and a long sum are split over blocks, which need room for their parts. */
uint64_t wanted_workspace(const cublasLtMatrixLayoutState& d, uint64_t k) {
  return d.cols <= 64 && k >= 512 ? d.rows * d.cols * 4 * 2 : 0;
}

// Algorithms that are found, the first being what a caller gets who asks for one. All compute the same bits.
constexpr uint32_t kPlain = 0;
constexpr uint32_t kForMany = 1;      // the quickest for many columns; needs no workspace
constexpr uint32_t kUnsupported = 2;  // found, but not to be run
constexpr uint32_t kForFew = 3;       // the quickest for few
constexpr uint32_t kNumVariants = 4;

/** Columns that it can be run for. */
uint64_t most_columns(uint32_t variant) { return variant == kForFew ? 48 : UINT64_MAX; }

uint32_t quickest(const cublasLtMatrixLayoutState& d) { return d.cols <= 8 ? kForFew : kForMany; }

/** Milliseconds that a product is said to take. */
double time_of(uint32_t variant, const cublasLtMatrixLayoutState& d, uint64_t k) {
  const double fewest = 1e-3 + static_cast<double>(d.rows * d.cols * k) * 1e-9;
  return fewest * (variant == quickest(d) ? 1 : variant == kPlain ? 1.5 : 2);
}

}  // namespace

extern "C" {

size_t cublasLtGetVersion() { return kVersion; }

int cublasLtCreate(cublasLtHandle_t* handle) {
  if (cuemu::Runtime::instance().num_devices() == 0) return kNotInitialized;
  *handle = new cublasLtContext{.device = cuemu::Runtime::device()};
  return kSuccess;
}
int cublasLtDestroy(cublasLtHandle_t handle) {
  if (handle == nullptr || handle->magic != kMagic) return refuse(kNotInitialized, "a handle that is none");
  handle->magic = 0;
  delete handle;
  return kSuccess;
}

int cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, int compute, cudaDataType_t scale) {
  *operation = new cublasLtMatmulDescState{.compute = compute, .scale = scale};
  return kSuccess;
}
int cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete operation;
  return kSuccess;
}
int cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, int attribute, const void* value, size_t bytes) {
  switch (attribute) {
    case 3: return store(operation->transposes[0], value, bytes);
    case 4: return store(operation->transposes[1], value, bytes);
    case 7: return store(operation->epilogue, value, bytes);
    case 8: return store(operation->bias, value, bytes);
    case 17: return store(operation->scales[0], value, bytes);
    case 18: return store(operation->scales[1], value, bytes);
    case 26: return store(operation->bias_type, value, bytes);
    case 31: return store(operation->scale_modes[0], value, bytes);
    case 32: return store(operation->scale_modes[1], value, bytes);
    default: return refuse(kNotSupported, "an attribute of products that nothing here needs");
  }
}

int cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows, uint64_t cols,
                               int64_t ld) {
  *layout = new cublasLtMatrixLayoutState{type, rows, cols, ld};
  return kSuccess;
}
int cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return kSuccess;
}

int cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceState;
  return kSuccess;
}
int cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return kSuccess;
}
int cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, int attribute, const void* value,
                                         size_t bytes) {
  if (attribute == 1) return store(preference->workspace_bytes, value, bytes);
  if (attribute >= 5 && attribute <= 8) return store(preference->alignments[attribute - 5], value, bytes);
  return refuse(kNotSupported, "a preference that nothing here needs");
}

int cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                                   cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                   cublasLtMatmulPreference_t preference, int wanted,
                                   cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  if (handle == nullptr || handle->magic != kMagic) return refuse(kNotInitialized, "a handle that is none");
  if (wanted < 1) return refuse(kInvalidValue, "no algorithm wanted");
  const cublasLtMatrixLayoutState* const layouts[4] = {a, b, c, d};
  if (const int status = check(*operation, layouts); status != kSuccess) return status;
  Recipe recipe = {kMagic, configuration_of(*operation, layouts), configuration_of(*operation, layouts, false), {}, kPlain, 0};
  const uint64_t workspace_bytes = wanted_workspace(*d, operation->transposes[0] ? a->rows : a->cols);
  for (int i = 0; i < 4; i++) {
    const uint32_t alignment = preference->alignments[i];
    const size_t element = bytes_of(layouts[i]->type);
    if (alignment % element != 0 || (alignment & (alignment - 1)) != 0) {
      return refuse(kInvalidValue, "an alignment that is no power of two, or less than an element");
    }
    // Wide loads at every line need lines that begin at multiples, too.
    if (layouts[i]->cols > 1 && layouts[i]->ld * element % (alignment < 16 ? alignment : 16) != 0) {
      return refuse(kInvalidValue, "a promised alignment that the leading dimension breaks");
    }
    if (bytes_of(a->type) == 1 && alignment < (a->type == CUDA_R_8I ? 4u : 16u)) {
      return refuse(kNotSupported, "8 bits and arrays that may be less aligned than tensor cores take");
    }
    recipe.alignments[i] = alignment;
  }
  for (uint32_t variant = 0; variant < kNumVariants && *found < wanted; variant++) {
    if (d->cols > most_columns(variant)) continue;
    Recipe own = recipe;
    own.variant = variant;
    own.splits = variant != kForMany && workspace_bytes <= preference->workspace_bytes;
    cublasLtMatmulHeuristicResult_t& result = results[(*found)++];
    result = {};
    std::memcpy(result.algo.data, &own, sizeof own);
    result.workspaceSize = own.splits != 0 ? workspace_bytes : 0;
    result.state = variant == kUnsupported ? kNotSupported : kSuccess;
  }
  return kSuccess;
}

int cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                            cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                            const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulHeuristicResult_t* result) {
  if (handle == nullptr || handle->magic != kMagic) return refuse(kNotInitialized, "a handle that is none");
  const cublasLtMatrixLayoutState* const layouts[4] = {a, b, c, d};
  if (const int status = check(*operation, layouts); status != kSuccess) return status;
  Recipe recipe;
  std::memcpy(&recipe, algorithm->data, sizeof recipe);
  *result = {};
  const bool is_ours = recipe.magic == kMagic && recipe.like == configuration_of(*operation, layouts, false) &&
                       recipe.variant < kNumVariants && recipe.variant != kUnsupported &&
                       d->cols <= most_columns(recipe.variant);
  if (is_ours) handle->checked.insert({configuration_of(*operation, layouts), recipe.variant});
  const uint64_t bytes = wanted_workspace(*d, operation->transposes[0] ? a->rows : a->cols);
  result->state = is_ours ? kSuccess : kNotSupported;
  result->workspaceSize = is_ours && recipe.splits != 0 ? bytes : 0;
  return is_ours ? kSuccess : kNotSupported;
}

int cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                   cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                   const void* c, cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                   const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  cuemu::Runtime& runtime = cuemu::Runtime::instance();
  const std::lock_guard lock(runtime.mutex);
  if (handle == nullptr || handle->magic != kMagic) return refuse(kNotInitialized, "a handle that is none");
  if (handle->device != cuemu::Runtime::device()) return refuse(kInvalidValue, "a handle of another device");
  const cublasLtMatrixLayoutState* const layouts[4] = {a_layout, b_layout, c_layout, d_layout};
  if (const int status = check(*operation, layouts); status != kSuccess) return status;
  if (alpha == nullptr || beta == nullptr || algorithm == nullptr) return refuse(kInvalidValue, "a null pointer");
  Recipe recipe;
  std::memcpy(&recipe, algorithm->data, sizeof recipe);
  const uint64_t configuration = configuration_of(*operation, layouts);
  if (recipe.magic != kMagic || recipe.like != configuration_of(*operation, layouts, false)) {
    return refuse(kInvalidValue, "an algorithm of another configuration");
  }
  if (recipe.configuration != configuration && !handle->checked.contains({configuration, recipe.variant})) {
    return refuse(kInvalidValue, "an algorithm of another shape, for which nobody asked whether it is good");
  }
  if (recipe.variant == kUnsupported) return refuse(kNotSupported, "an algorithm that was told not to be supported");
  const uint64_t k = operation->transposes[0] ? a_layout->rows : a_layout->cols;
  const uint64_t needed_bytes = recipe.splits != 0 ? wanted_workspace(*d_layout, k) : 0;
  if (workspace_bytes < needed_bytes) return refuse(kInvalidValue, "less workspace than the algorithm needs");
  const int device = handle->device;
  const auto is_there = [&](const void* at, size_t bytes) {
    const int where = runtime.memory.device_of(at, bytes);
    return where >= 0 && runtime.memory.has_peer(device, where);
  };
  if (needed_bytes > 0 &&
      (reinterpret_cast<uintptr_t>(workspace) % 16 != 0 || !is_there(workspace, workspace_bytes))) {
    return refuse(kInvalidValue, "a workspace that is not aligned, or not in device memory");
  }
  const void* const arrays[4] = {a, b, c, d};
  for (int i = 0; i < 4; i++) {
    if (reinterpret_cast<uintptr_t>(arrays[i]) % recipe.alignments[i] != 0) {
      return refuse(kInvalidValue, "an array that is less aligned than promised");
    }
    if (!is_there(arrays[i], layouts[i]->span_bytes())) {
      return refuse(kInvalidValue, "an array that is not, or not whole, in the device's memory");
    }
  }
  const bool has_bias = (operation->epilogue & kBiasFlag) != 0;
  const cudaDataType_t bias_type =
      operation->bias_type == -1 ? d_layout->type : static_cast<cudaDataType_t>(operation->bias_type);
  if (has_bias && !is_there(operation->bias, d_layout->rows * bytes_of(bias_type))) {
    return refuse(kInvalidValue, "a bias that is not, or not whole, in the device's memory");
  }
  const bool scales_lines = operation->scale_modes[0] == kScaleLines;
  for (int i = 0; i < 2; i++) {
    const uint64_t count = !scales_lines ? 1 : i == 0 ? d_layout->rows : d_layout->cols;
    if (operation->scales[i] != nullptr && !is_there(operation->scales[i], count * sizeof(float))) {
      return refuse(kInvalidValue, "scales that are not, or not whole, in the device's memory");
    }
  }
  if (c == d && c_layout->ld != d_layout->ld) return refuse(kInvalidValue, "C in place of D with another layout");
  Product product = {
      .m = d_layout->rows,
      .n = d_layout->cols,
      .k = operation->transposes[0] ? a_layout->rows : a_layout->cols,
      .a = a, .a_ld = static_cast<size_t>(a_layout->ld), .a_transposed = operation->transposes[0] != 0,
      .b = b, .b_ld = static_cast<size_t>(b_layout->ld), .b_transposed = operation->transposes[1] != 0,
      .c = c, .c_ld = static_cast<size_t>(c_layout->ld),
      .d = d, .d_ld = static_cast<size_t>(d_layout->ld),
      .factor = number_of(a_layout->type),
      .out = number_of(d_layout->type),
      .bias = has_bias ? operation->bias : nullptr,
      .bias_type = number_of(bias_type),
      .relu = (operation->epilogue & kReluFlag) != 0,
      .gelu = (operation->epilogue & kGeluFlag) != 0,
      .a_scales = static_cast<const float*>(operation->scales[0]),
      .b_scales = static_cast<const float*>(operation->scales[1]),
      .scales_lines = scales_lines,
  };
  if (product.out == cuemu::Number::kInt32) {
    int32_t whole[2];
    std::memcpy(&whole[0], alpha, sizeof whole[0]);
    std::memcpy(&whole[1], beta, sizeof whole[1]);
    for (const int32_t factor : whole) {
      if (factor != 0 && factor != 1) return refuse(kNotSupported, "an alpha or beta of int32 that is neither 0 nor 1");
    }
    product.alpha = static_cast<float>(whole[0]), product.beta = static_cast<float>(whole[1]);
  } else {
    std::memcpy(&product.alpha, alpha, sizeof(float));
    std::memcpy(&product.beta, beta, sizeof(float));
  }
  const size_t scribbled = needed_bytes;
  const double ms = time_of(recipe.variant, *d_layout, product.k);
  const bool is_slow = recipe.variant != quickest(*d_layout);
  const cudaError_t error = runtime.enqueue(stream, {[=] {
    const cuemu::Memory::Access access(cuemu::Runtime::instance().memory, device);
    if (scribbled > 0) {
      std::memset(workspace, 0xFF, scribbled);
      cuemu::note_host_write(workspace, scribbled);
    }
    cuemu::multiply(product);
    cuemu::Runtime& own = cuemu::Runtime::instance();
    own.clock_ms += ms;
    own.counters.products++;
    own.counters.slow_products += is_slow;
  }, {}, static_cast<double>(product.m) * static_cast<double>(product.n) * static_cast<double>(product.k) / 64});
  return error == cudaSuccess ? kSuccess : refuse(kInvalidValue, "a stream that is none");
}

}  // extern "C"
