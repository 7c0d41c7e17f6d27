/** Owns the stand-in for NCCL: the functions an engine uses, under their real names, with their numbers as types. */
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

extern "C" {

using ncclComm_t = struct ncclComm*;

int ncclGetVersion(int* version);
const char* ncclGetErrorString(int status);
const char* ncclGetLastError(ncclComm_t comm);
int ncclCommInitAll(ncclComm_t* comms, int count, const int* devices);
int ncclCommDestroy(ncclComm_t comm);
int ncclGroupStart();
int ncclGroupEnd();
int ncclAllReduce(const void* send, void* receive, size_t count, int type, int operation, ncclComm_t comm,
                  cudaStream_t stream);

}  // extern "C"
