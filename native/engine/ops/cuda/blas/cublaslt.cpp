#include "ops/cuda/blas/cublaslt.h"

#include "ops/cuda/shared_library.h"

namespace tessera::cuda::lt {

namespace {

constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

Library open() {
  const SharedLibrary file(kNames);
  Library out = {};
  file.load("cublasLtCreate", out.create);
  file.load("cublasLtDestroy", out.destroy);
  file.load("cublasLtGetVersion", out.version);
  file.load("cublasLtMatmulDescCreate", out.operation_create);
  file.load("cublasLtMatmulDescDestroy", out.operation_destroy);
  file.load("cublasLtMatmulDescSetAttribute", out.operation_set);
  file.load("cublasLtMatrixLayoutCreate", out.layout_create);
  file.load("cublasLtMatrixLayoutDestroy", out.layout_destroy);
  file.load("cublasLtMatmulPreferenceCreate", out.preference_create);
  file.load("cublasLtMatmulPreferenceDestroy", out.preference_destroy);
  file.load("cublasLtMatmulPreferenceSetAttribute", out.preference_set);
  file.load("cublasLtMatmulAlgoGetHeuristic", out.find);
  file.load("cublasLtMatmulAlgoCheck", out.check);
  file.load("cublasLtMatmul", out.multiply);
  return out;
}

}  // namespace

const Library& library() {
  static const Library opened = open();  // thrown out of, it is tried again next time
  return opened;
}

}  // namespace tessera::cuda::lt
