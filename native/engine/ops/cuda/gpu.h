/** Owns what kernels are written in: launches, shared memory and PTX, each once for the device and once for the emulator. */
#pragma once

#ifdef TESSERA_EMULATED_GPU
#include "cuda_emulator.h"
#include "runtime/runtime.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>
#endif

using bf16 = __nv_bfloat16;
using bf16x2 = __nv_bfloat162;

/** A variable in shared memory: GPU_SHARED(float[32], sums). Uninitialised. One a line. */
#ifdef TESSERA_EMULATED_GPU
#define GPU_SHARED(type, name)                                                                             \
  auto& name = *static_cast<std::type_identity_t<type>*>(::cuemu::current->block->shared.variable(         \
      {__FILE__, __LINE__}, sizeof(std::type_identity_t<type>), alignof(std::type_identity_t<type>) < 16 ? 16 : alignof(std::type_identity_t<type>)))
#else
#define GPU_SHARED(type, name) __shared__ std::type_identity_t<type> name
#endif

namespace gpu {

/** The launch's dynamic shared memory, aligned to 1024 bytes. Uninitialised. */
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
#ifdef TESSERA_EMULATED_GPU
  return static_cast<T*>(::cuemu::current->block->shared.dynamic());
#else
  extern __shared__ __align__(1024) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
#endif
}

/** What a launch needs beside its arguments. */
struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t dynamic_bytes = 0;
  cudaStream_t stream = nullptr;
};

/** Dynamic shared memory that leaves room for variables, as many as any kernel has, below 48 KiB. */
inline constexpr size_t kUntoldBytes = 28 * 1024;

/** Puts `kernel(arguments...)` on a stream. `name` is for messages. */
template <class... Parameters, class... Arguments>
cudaError_t launch(const char* name, const LaunchShape& shape, void (*kernel)(Parameters...), Arguments... arguments) {
  const auto* function = reinterpret_cast<const void*>(kernel);
  // Beyond 48 KiB, shared variables included, a kernel must be told; it is cheap enough to do it each time.
  if (shape.dynamic_bytes > kUntoldBytes) {
    const auto bytes = static_cast<int>(shape.dynamic_bytes);
    const cudaError_t error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return error;
  }
#ifdef TESSERA_EMULATED_GPU
  return ::cuemu::launch({.name = name,
                          .function = function,
                          .grid = shape.grid,
                          .block = shape.block,
                          .dynamic_bytes = shape.dynamic_bytes,
                          .body = [=] { kernel(Parameters(arguments)...); }},
                         shape.stream);
#else
  (void)name;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.dynamic_bytes;
  config.stream = shape.stream;
  return cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
#endif
}

#ifdef TESSERA_EMULATED_GPU

inline void copy_async_16(void* shared, const void* global, bool is_there = true, CUEMU_SITE) {
  ::cuemu::current->copies.copy(shared, global, 16, is_there ? 16 : 0, CUEMU_HERE);
}
inline void commit_copies() { ::cuemu::current->copies.commit(); }
template <int kOpen>
void wait_copies() {
  ::cuemu::current->copies.wait(kOpen);
}
inline void load_matrix_x4(uint32_t (&fragments)[4], const void* row, CUEMU_SITE) {
  ::cuemu::load_matrix(fragments, 4, row, false, CUEMU_HERE);
}
inline void load_matrix_x4_transposed(uint32_t (&fragments)[4], const void* row, CUEMU_SITE) {
  ::cuemu::load_matrix(fragments, 4, row, true, CUEMU_HERE);
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b, CUEMU_SITE) {
  ::cuemu::mma_16816(::cuemu::MmaType::kBf16, d, a, b, CUEMU_HERE);
}
inline void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t* b, CUEMU_SITE) {
  ::cuemu::mma_16832(d, a, b, CUEMU_HERE);
}
inline float exp2_fast(float x) { return exp2f(x); }
inline uint64_t multiply_high(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}

#else

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
/** cp.async of 16 bytes past L1; zeros where `is_there` is false. Both addresses are multiples of 16. */
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool is_there = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(is_there ? 16 : 0)
               : "memory");
}
/** What was copied since the last commit becomes a group. */
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/** Waits until at most `kOpen` of this thread's groups are on their way. Other threads need a barrier as well. */
template <int kOpen>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kOpen) : "memory");
}
/** ldmatrix.x4: lane i gives row i % 8 of matrix i / 8, each row 8 values of 16 bits. */
__device__ __forceinline__ void load_matrix_x4(uint32_t (&fragments)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&fragments)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
               : "r"(shared_address(row))
               : "memory");
}
/** mma.m16n8k16: d[16][8] += a[16][16] b[16][8], bf16 in, fp32 out. */
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/** mma.m16n8k32: d[16][8] += a[16][32] b[32][8], int8 in, int32 out. */
__device__ __forceinline__ void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/** 2^x, within 2 units of the last place of fp32. */
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/** The upper 64 bits of a product. */
__device__ __forceinline__ uint64_t multiply_high(uint64_t a, uint64_t b) { return __umul64hi(a, b); }

#endif

/** Two floats as a pair of bf16, the first in the low half. */
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  const bf16x2 pair = __floats2bfloat162_rn(low, high);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

}  // namespace gpu
