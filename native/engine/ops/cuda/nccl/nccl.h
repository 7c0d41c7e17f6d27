/**
 * Owns what the engine uses of NCCL, declared here because the library is opened at run time and its header need not be
 * there: names and numbers as NVIDIA documents them, the same in all of version 2.
 */
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace tessera::cuda::nccl {

using Communicator = struct CommunicatorState*;

inline constexpr int kSuccess = 0;   // ncclResult_t
inline constexpr int kFloat32 = 7;   // ncclDataType_t
inline constexpr int kSum = 0;       // ncclRedOp_t
/** 2.14: the first whose collectives are one graph node each, and whose calls may be captured beside others. */
inline constexpr int kOldestVersion = 21400;

/** The functions, each null until the library is open. */
struct Library {
  int (*version)(int*);
  const char* (*error_text)(int);
  /** Text of the newest error of a communicator, or of any where it is null. */
  const char* (*last_error)(Communicator);
  int (*init_all)(Communicator* out, int num_devices, const int* devices);
  int (*destroy)(Communicator);
  int (*group_start)();
  int (*group_end)();
  int (*all_reduce)(const void* send, void* receive, size_t count, int type, int operation, Communicator, cudaStream_t);
};

/** Opens the library once for the process. @throws Error that says where it was looked for */
const Library& library();

}  // namespace tessera::cuda::nccl
