#include "ops/cuda/nccl/nccl.h"

#include <string>

#include "ops/cuda/shared_library.h"
#include "tessera/error.h"

namespace tessera::cuda::nccl {

namespace {

constexpr const char* kNames[] = {"libnccl.so.2"};

Library open() {
  const SharedLibrary file(kNames, "the system's package libnccl2 or the wheel nvidia-nccl-cu13");
  Library out = {};
  file.load("ncclGetVersion", out.version);
  file.load("ncclGetErrorString", out.error_text);
  file.load("ncclGetLastError", out.last_error);
  file.load("ncclCommInitAll", out.init_all);
  file.load("ncclCommDestroy", out.destroy);
  file.load("ncclGroupStart", out.group_start);
  file.load("ncclGroupEnd", out.group_end);
  file.load("ncclAllReduce", out.all_reduce);
  int version = 0;
  if (out.version(&version) != kSuccess || version < kOldestVersion) {
    refuse("open libnccl.so.2", "its version is " + std::to_string(version), std::to_string(kOldestVersion) + " or newer");
  }
  return out;
}

}  // namespace

const Library& library() {
  static const Library opened = open();  // thrown out of, it is tried again next time
  return opened;
}

}  // namespace tessera::cuda::nccl
