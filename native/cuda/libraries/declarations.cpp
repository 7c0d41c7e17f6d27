/**
 * Owns the proof that what the engine declares of cuBLASLt and NCCL is what NVIDIA's headers say, and that the libraries
 * themselves open and take it, as far as they do without a GPU.
 */
#include <cublasLt.h>
#include <nccl.h>

#include <cstddef>
#include <cstdio>
#include <type_traits>

#include "ops/cuda/blas/cublaslt.h"
#include "ops/cuda/nccl/nccl.h"

namespace lt = tessera::cuda::lt;
namespace nccl = tessera::cuda::nccl;

#define SAME(own, theirs) static_assert(static_cast<long long>(own) == static_cast<long long>(theirs))

SAME(lt::kSuccess, CUBLAS_STATUS_SUCCESS);
SAME(lt::kCompute32F, CUBLAS_COMPUTE_32F);
SAME(lt::kCompute32I, CUBLAS_COMPUTE_32I);
SAME(lt::kTranspose, CUBLAS_OP_T);
SAME(lt::kTransposeA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(lt::kEpilogue, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(lt::kBiasPointer, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(lt::kScalePointerA, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER);
SAME(lt::kScalePointerB, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER);
SAME(lt::kBiasType, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
SAME(lt::kScaleModeA, CUBLASLT_MATMUL_DESC_A_SCALE_MODE);
SAME(lt::kScaleModeB, CUBLASLT_MATMUL_DESC_B_SCALE_MODE);
SAME(lt::kScaleMatrix, CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F);
SAME(lt::kScaleLines, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
SAME(lt::kMaxWorkspaceBytes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(lt::kMinAlignmentA, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(lt::kMinAlignmentB, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(lt::kMinAlignmentC, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(lt::kMinAlignmentD, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(lt::kEpilogueNone, CUBLASLT_EPILOGUE_DEFAULT);
SAME(lt::kEpilogueBias, CUBLASLT_EPILOGUE_BIAS);
SAME(sizeof(lt::Algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(lt::Candidate), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(lt::Candidate, workspace_bytes), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(lt::Candidate, status), offsetof(cublasLtMatmulHeuristicResult_t, state));
SAME(offsetof(lt::Candidate, waves), offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));
SAME(nccl::kSuccess, ncclSuccess);
SAME(nccl::kFloat32, ncclFloat32);
SAME(nccl::kSum, ncclSum);

namespace {

/** Whether a parameter is passed the same way: pointers as pointers, numbers and enumerations by their size. */
template <class A, class B>
constexpr bool is_passed_alike() {
  if constexpr (std::is_void_v<A> || std::is_void_v<B>) return std::is_void_v<A> && std::is_void_v<B>;
  else return std::is_pointer_v<A> == std::is_pointer_v<B> && sizeof(A) == sizeof(B);
}

template <class A, class B>
constexpr bool kAlike = false;
template <class A, class... As, class B, class... Bs>
constexpr bool kAlike<A (*)(As...), B (*)(Bs...)> = [] {
  if constexpr (sizeof...(As) != sizeof...(Bs)) return false;
  else return (is_passed_alike<A, B>() && ... && is_passed_alike<As, Bs>());
}();

#define ALIKE(library, member, function) static_assert(kAlike<decltype(library::Library::member), decltype(&function)>)

ALIKE(lt, create, cublasLtCreate);
ALIKE(lt, destroy, cublasLtDestroy);
ALIKE(lt, version, cublasLtGetVersion);
ALIKE(lt, operation_create, cublasLtMatmulDescCreate);
ALIKE(lt, operation_destroy, cublasLtMatmulDescDestroy);
ALIKE(lt, operation_set, cublasLtMatmulDescSetAttribute);
ALIKE(lt, layout_create, cublasLtMatrixLayoutCreate);
ALIKE(lt, layout_destroy, cublasLtMatrixLayoutDestroy);
ALIKE(lt, preference_create, cublasLtMatmulPreferenceCreate);
ALIKE(lt, preference_destroy, cublasLtMatmulPreferenceDestroy);
ALIKE(lt, preference_set, cublasLtMatmulPreferenceSetAttribute);
ALIKE(lt, find, cublasLtMatmulAlgoGetHeuristic);
ALIKE(lt, check, cublasLtMatmulAlgoCheck);
ALIKE(lt, multiply, cublasLtMatmul);
ALIKE(nccl, version, ncclGetVersion);
ALIKE(nccl, error_text, ncclGetErrorString);
ALIKE(nccl, last_error, ncclGetLastError);
ALIKE(nccl, init_all, ncclCommInitAll);
ALIKE(nccl, destroy, ncclCommDestroy);
ALIKE(nccl, group_start, ncclGroupStart);
ALIKE(nccl, group_end, ncclGroupEnd);
ALIKE(nccl, all_reduce, ncclAllReduce);

int failures = 0;

void expect(const char* what, int status) {
  if (status == 0) return;
  std::printf("%s: status %d\n", what, status);
  failures++;
}

/** An attribute of a product, as the engine sets it. */
template <class T>
void set(const lt::Library& library, lt::Operation operation, lt::OperationAttribute attribute, T value, const char* what) {
  expect(what, library.operation_set(operation, attribute, &value, sizeof value));
}

}  // namespace

int main() {
  const lt::Library& blas = lt::library();
  lt::Operation operation = nullptr;
  expect("a product", blas.operation_create(&operation, lt::kCompute32F, CUDA_R_32F));
  set(blas, operation, lt::kTransposeA, lt::kTranspose, "a transposed");
  set(blas, operation, lt::kEpilogue, lt::kEpilogueBias, "bias");
  set(blas, operation, lt::kBiasPointer, static_cast<const void*>(&failures), "bias' address");
  set(blas, operation, lt::kBiasType, CUDA_R_32F, "bias' type");
  set(blas, operation, lt::kScalePointerA, static_cast<const void*>(&failures), "scale of a");
  set(blas, operation, lt::kScalePointerB, static_cast<const void*>(&failures), "scale of b");
  set(blas, operation, lt::kScaleModeA, lt::kScaleLines, "a scale a line of a");
  set(blas, operation, lt::kScaleModeB, lt::kScaleLines, "a scale a line of b");
  expect("a product's end", blas.operation_destroy(operation));
  lt::Layout layout = nullptr;
  for (const cudaDataType_t type : {CUDA_R_16BF, CUDA_R_32F, CUDA_R_8I, CUDA_R_32I, CUDA_R_8F_E4M3}) {
    expect("a layout", blas.layout_create(&layout, type, 64, 32, 64));
    expect("a layout's end", blas.layout_destroy(layout));
  }
  lt::Preference preference = nullptr;
  expect("a preference", blas.preference_create(&preference));
  const uint64_t workspace = 32 << 20;
  expect("workspace", blas.preference_set(preference, lt::kMaxWorkspaceBytes, &workspace, sizeof workspace));
  const uint32_t alignment = 16;
  for (int side = lt::kMinAlignmentA; side <= lt::kMinAlignmentD; side++) {
    expect("alignment", blas.preference_set(preference, side, &alignment, sizeof alignment));
  }
  expect("a preference's end", blas.preference_destroy(preference));
  int version = 0;
  expect("NCCL's version", nccl::library().version(&version));
  std::printf("cuBLASLt %zu and NCCL %d: as declared, %d calls refused\n", blas.version(), version, failures);
  return failures == 0 ? 0 : 1;
}
