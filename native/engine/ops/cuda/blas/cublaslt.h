/**
 * Owns what the engine uses of cuBLASLt, declared here because the library is opened at run time and its headers need not
 * be there: names and numbers as NVIDIA documents them, the same in versions 12 and 13.
 */
#pragma once

#include <cuda_runtime_api.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace tessera::cuda::lt {

using Handle = struct Context*;
using Operation = struct OperationState*;
using Layout = struct LayoutState*;
using Preference = struct PreferenceState*;

inline constexpr int kSuccess = 0;       // cublasStatus_t
inline constexpr int kCompute32F = 68;   // cublasComputeType_t: products of 16 or 8 bits, sums of fp32
inline constexpr int kCompute32I = 72;   // products of int8, sums of int32
inline constexpr int32_t kTranspose = 1;  // cublasOperation_t

/** cublasLtMatmulDescAttributes_t */
enum OperationAttribute : int {
  kTransposeA = 3,
  kEpilogue = 7,
  kBiasPointer = 8,
  kScalePointerA = 17,
  kScalePointerB = 18,
  kBiasType = 26,
  kScaleModeA = 31,
  kScaleModeB = 32,
};
/** cublasLtMatmulMatrixScale_t: one number for a matrix, or one for each line of a and of b. */
inline constexpr int32_t kScaleMatrix = 0;
inline constexpr int32_t kScaleLines = 3;  // of FP8 on sm_90 alone, from version 12.9 on
inline constexpr size_t kScaleLinesVersion = 120900;
/** cublasLtMatmulPreferenceAttributes_t */
enum PreferenceAttribute : int {
  kMaxWorkspaceBytes = 1,
  kMinAlignmentA = 5,
  kMinAlignmentB = 6,
  kMinAlignmentC = 7,
  kMinAlignmentD = 8,
};
/** cublasLtEpilogue_t, of type uint32_t. Its GELU is the tanh approximation, so it is not here. */
inline constexpr uint32_t kEpilogueNone = 1;
inline constexpr uint32_t kEpilogueBias = 4;

/** cublasLtMatmulAlgo_t: may be kept and used with the same version of the library. */
struct Algorithm {
  uint64_t data[8];
};

/** cublasLtMatmulHeuristicResult_t */
struct Candidate {
  Algorithm algorithm;
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

/** The functions, each null until the library is open. */
struct Library {
  int (*create)(Handle*);
  int (*destroy)(Handle);
  size_t (*version)();
  int (*operation_create)(Operation*, int compute, cudaDataType_t scale);
  int (*operation_destroy)(Operation);
  int (*operation_set)(Operation, int attribute, const void* value, size_t bytes);
  int (*layout_create)(Layout*, cudaDataType_t type, uint64_t rows, uint64_t cols, int64_t leading);
  int (*layout_destroy)(Layout);
  int (*preference_create)(Preference*);
  int (*preference_destroy)(Preference);
  int (*preference_set)(Preference, int attribute, const void* value, size_t bytes);
  int (*find)(Handle, Operation, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, Candidate*, int* found);
  int (*check)(Handle, Operation, Layout a, Layout b, Layout c, Layout d, const Algorithm*, Candidate*);
  int (*multiply)(Handle, Operation, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta,
                  const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, size_t workspace_bytes,
                  cudaStream_t);
};

/** Opens the library once for the process. @throws Error that says where it was looked for */
const Library& library();

}  // namespace tessera::cuda::lt
