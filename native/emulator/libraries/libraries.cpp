#include "libraries/libraries.h"

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "libraries/cublaslt.h"
#include "libraries/nccl.h"

namespace cuemu {

namespace {

using Symbols = std::map<std::string_view, void*>;

template <class Function>
void* address(Function* function) {
  return reinterpret_cast<void*>(function);
}

Symbols cublaslt() {
  return {
      {"cublasLtCreate", address(cublasLtCreate)},
      {"cublasLtDestroy", address(cublasLtDestroy)},
      {"cublasLtGetVersion", address(cublasLtGetVersion)},
      {"cublasLtMatmulDescCreate", address(cublasLtMatmulDescCreate)},
      {"cublasLtMatmulDescDestroy", address(cublasLtMatmulDescDestroy)},
      {"cublasLtMatmulDescSetAttribute", address(cublasLtMatmulDescSetAttribute)},
      {"cublasLtMatrixLayoutCreate", address(cublasLtMatrixLayoutCreate)},
      {"cublasLtMatrixLayoutDestroy", address(cublasLtMatrixLayoutDestroy)},
      {"cublasLtMatmulPreferenceCreate", address(cublasLtMatmulPreferenceCreate)},
      {"cublasLtMatmulPreferenceDestroy", address(cublasLtMatmulPreferenceDestroy)},
      {"cublasLtMatmulPreferenceSetAttribute", address(cublasLtMatmulPreferenceSetAttribute)},
      {"cublasLtMatmulAlgoGetHeuristic", address(cublasLtMatmulAlgoGetHeuristic)},
      {"cublasLtMatmulAlgoCheck", address(cublasLtMatmulAlgoCheck)},
      {"cublasLtMatmul", address(cublasLtMatmul)},
  };
}

Symbols nccl() {
  return {
      {"ncclGetVersion", address(ncclGetVersion)},
      {"ncclGetErrorString", address(ncclGetErrorString)},
      {"ncclGetLastError", address(ncclGetLastError)},
      {"ncclCommInitAll", address(ncclCommInitAll)},
      {"ncclCommDestroy", address(ncclCommDestroy)},
      {"ncclGroupStart", address(ncclGroupStart)},
      {"ncclGroupEnd", address(ncclGroupEnd)},
      {"ncclAllReduce", address(ncclAllReduce)},
  };
}

const std::map<std::string_view, Symbols>& libraries() {
  static const std::map<std::string_view, Symbols> all = {{"libcublasLt.so.13", cublaslt()}, {"libnccl.so.2", nccl()}};
  return all;
}

}  // namespace

void* open_library(const char* path) {
  const char* mode = std::getenv("CUEMU_LIBRARIES");
  if (mode != nullptr && std::string_view(mode) == "none") return nullptr;
  if (mode != nullptr && *mode != 0 && std::string_view(mode) != path) return nullptr;
  const auto found = libraries().find(path);
  return found == libraries().end() ? nullptr : const_cast<Symbols*>(&found->second);
}

void* find_symbol(void* library, const char* name) {
  const auto& symbols = *static_cast<const Symbols*>(library);
  const auto found = symbols.find(name);
  return found == symbols.end() ? nullptr : found->second;
}

}  // namespace cuemu
