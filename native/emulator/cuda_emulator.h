/** Owns the CUDA language for kernels compiled for the emulator: what nvcc has built in. Included by `gpu.h` alone. */
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "device/access.h"
#include "device/block.h"
#include "device/matrix.h"
#include "device/warp.h"

#undef __shared__
#define __shared__ static_assert(false, "declare shared variables with GPU_SHARED")
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __forceinline__
#define __forceinline__ inline __attribute__((always_inline))

#define threadIdx (::cuemu::current->index)
#define blockIdx (::cuemu::current->block->index)
#define blockDim (::cuemu::current->block->launch->block)
#define gridDim (::cuemu::current->block->launch->grid)
#define warpSize 32

using std::max;
using std::min;

inline void __syncthreads(CUEMU_SITE) { cuemu::barrier(0, 0, CUEMU_HERE); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, CUEMU_SITE) {
  cuemu::collect(mask, cuemu::Collective::kSync, nullptr, 0, CUEMU_HERE);
}

namespace cuemu {

/** What lane `from` put, where lanes that `mask` does not name cannot be read. */
template <class T>
T shuffle(unsigned mask, Collective what, const T& value, int from, Site site) {
  static_assert(sizeof(T) <= 16);
  const LaneValues& values = collect(mask, what, &value, sizeof value, site);
  if ((mask >> from & 1) == 0) fail("shuffle: reads a lane outside the mask", site);
  T result;
  std::memcpy(&result, values[from], sizeof result);
  return result;
}

/** Any of the atomics, as a loop over compare-and-swap. Atomics order nothing but themselves. */
template <class T, class Change>
T change_atomically(T* at, Change change) {
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;
  Bits* bits = reinterpret_cast<Bits*>(at);
  Bits before = __atomic_load_n(bits, __ATOMIC_RELAXED);
  for (;;) {
    T value;
    std::memcpy(&value, &before, sizeof value);
    const T changed = change(value);
    Bits after;
    std::memcpy(&after, &changed, sizeof after);
    if (__atomic_compare_exchange_n(bits, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return value;
  }
}

}  // namespace cuemu

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, CUEMU_SITE) {
  const int first = cuemu::lane() & ~(width - 1);
  return cuemu::shuffle(mask, cuemu::Collective::kShuffle, value, first | (from & (width - 1)), CUEMU_HERE);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, CUEMU_SITE) {
  const int own = cuemu::lane();
  const int from = (own ^ bits) < (own & ~(width - 1)) + width ? own ^ bits : own;
  return cuemu::shuffle(mask, cuemu::Collective::kShuffleXor, value, from, CUEMU_HERE);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUEMU_SITE) {
  const int own = cuemu::lane();
  const int from = (own & (width - 1)) + static_cast<int>(delta) < width ? own + static_cast<int>(delta) : own;
  return cuemu::shuffle(mask, cuemu::Collective::kShuffleDown, value, from, CUEMU_HERE);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUEMU_SITE) {
  const int own = cuemu::lane();
  const int from = (own & (width - 1)) >= static_cast<int>(delta) ? own - static_cast<int>(delta) : own;
  return cuemu::shuffle(mask, cuemu::Collective::kShuffleUp, value, from, CUEMU_HERE);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUEMU_SITE) {
  const cuemu::LaneValues& values =
      cuemu::collect(mask, cuemu::Collective::kBallot, &predicate, sizeof predicate, CUEMU_HERE);
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; lane++) {
    int vote = 0;
    if ((mask >> lane & 1) != 0) std::memcpy(&vote, values[lane], sizeof vote);
    ballot |= static_cast<unsigned>(vote != 0) << lane;
  }
  return ballot;
}
inline int __any_sync(unsigned mask, int predicate, CUEMU_SITE) {
  return __ballot_sync(mask, predicate, site_file, site_line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUEMU_SITE) {
  return __ballot_sync(mask, predicate, site_file, site_line) == mask;
}

template <class T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return cuemu::change_atomically(at, [value](T before) { return static_cast<T>(before + value); });
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  return cuemu::change_atomically(at, [value](T before) { return before > value ? before : value; });
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  return cuemu::change_atomically(at, [value](T before) { return before < value ? before : value; });
}
template <class T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return cuemu::change_atomically(at, [value](T) { return value; });
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return cuemu::change_atomically(at, [=](T before) { return before == expected ? value : before; });
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <class T>
T __ldg(const T* at) { return *at; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned x) {
  float value;
  std::memcpy(&value, &x, sizeof value);
  return value;
}
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline float __int_as_float(int x) { return __uint_as_float(static_cast<unsigned>(x)); }
inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; i++) sum += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
  return sum;
}
