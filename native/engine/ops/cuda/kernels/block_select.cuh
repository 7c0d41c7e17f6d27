/**
 * Owns selection without a sort: the key at which the weights of all larger keys reach a target, found by a block a byte
 * at a time. Weights are whole numbers, so sums are the same bits in any order of threads.
 */
#pragma once

#include "ops/cuda/kernels/common.cuh"

namespace tessera::cuda {

/** Ids below this have room in a key. */
inline constexpr int kMaxIds = 1 << 24;

/** Bits that order floats as their values do; both zeros are one. */
__device__ __forceinline__ uint32_t order_bits(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float from_order_bits(uint32_t bits) {
  return __uint_as_float((bits & 0x80000000u) != 0 ? bits & 0x7FFFFFFFu : ~bits);
}

/** Of two tokens the one with the larger logit has the larger key; of equal ones that with the lower id. Never 0. */
__device__ __forceinline__ uint64_t sort_key(float logit, int id) {
  return static_cast<uint64_t>(order_bits(logit)) << 24 | static_cast<uint64_t>(kMaxIds - 1 - id);
}

/** The same for tokens in the order of their ids. */
__device__ __forceinline__ uint64_t id_key(int id) { return static_cast<uint64_t>(kMaxIds - 1 - id); }

__device__ __forceinline__ int id_of(uint64_t key) { return kMaxIds - 1 - static_cast<int>(key & (kMaxIds - 1)); }
__device__ __forceinline__ float logit_of(uint64_t sort_key) {
  return from_order_bits(static_cast<uint32_t>(sort_key >> 24));
}

inline constexpr int kSortKeyBits = 56;
inline constexpr int kIdKeyBits = 24;

__device__ __forceinline__ uint64_t warp_sum(uint64_t x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

/** What `select` needs of shared memory. */
struct SelectMemory {
  unsigned long long bins[256];
  uint64_t digit;
  uint64_t before;
};

/** Adds to bins, the lanes of a warp that name the same bin at once: logits' first bytes are few. All lanes call. */
__device__ __forceinline__ void add_to_bin(unsigned long long* bins, int bin, uint64_t weight) {
  const int lane = threadIdx.x % 32;
  bool is_open = weight != 0;
  for (int round = 0; round < 2; round++) {
    const unsigned open = __ballot_sync(kAllLanes, is_open);
    if (open == 0) return;
    const int leader = __ffs(static_cast<int>(open)) - 1;
    const int leader_bin = __shfl_sync(kAllLanes, bin, leader);
    const bool is_same = is_open && bin == leader_bin;
    const uint64_t sum = warp_sum(is_same ? weight : uint64_t{0});
    if (lane == leader) atomicAdd(&bins[bin], static_cast<unsigned long long>(sum));
    is_open = is_open && !is_same;
  }
  if (is_open) atomicAdd(&bins[bin], static_cast<unsigned long long>(weight));
}

/** By the first warp: the bin, counted from the last, in which the sum passes `target`. */
__device__ __forceinline__ void find_digit(SelectMemory& memory, uint64_t target) {
  constexpr int kOwn = 256 / 32;
  const int lane = threadIdx.x;
  const int last = 255 - lane * kOwn;
  uint64_t own = 0;
  for (int i = 0; i < kOwn; i++) own += memory.bins[last - i];
  uint64_t reached = own;
  for (int offset = 1; offset < 32; offset *= 2) {
    const uint64_t other = __shfl_up_sync(kAllLanes, reached, offset);
    if (lane >= offset) reached += other;
  }
  const unsigned passed = __ballot_sync(kAllLanes, reached > target);
  if (lane != __ffs(static_cast<int>(passed)) - 1) return;
  uint64_t before = reached - own;
  int digit = last;
  while (before + memory.bins[digit] <= target) before += memory.bins[digit--];
  memory.digit = static_cast<uint64_t>(digit);
  memory.before = before;
}

/**
 * The largest key such that the weights of it and all larger ones are more than `target`, which is less than all weights
 * together. `each(f)` calls f(key, weight) for every candidate, by whole warps, weight 0 for none. All threads call and
 * get the key. Keys have `key_bits` bits, a multiple of 8.
 */
template <class Each>
__device__ uint64_t select(SelectMemory& memory, int key_bits, uint64_t target, Each each) {
  uint64_t prefix = 0;
  for (int shift = key_bits - 8; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < 256; i += blockDim.x) memory.bins[i] = 0;
    __syncthreads();
    each([&](uint64_t key, uint64_t weight) {
      const bool is_below_prefix = key >> shift >> 8 == prefix;
      add_to_bin(memory.bins, static_cast<int>(key >> shift & 255), is_below_prefix ? weight : 0);
    });
    __syncthreads();
    if (threadIdx.x < 32) find_digit(memory, target);
    __syncthreads();
    // The next digit is written two barriers on.
    prefix = prefix << 8 | memory.digit;
    target -= memory.before;
  }
  return prefix;
}

/** Sum over the block, for each thread; `partial` [32] in shared memory, free again when all have returned. */
__device__ inline uint64_t block_sum(uint64_t x, uint64_t* partial) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  uint64_t sum = 0;
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / 32; warp++) sum += partial[warp];
  __syncthreads();
  return sum;
}

__device__ inline uint64_t block_max(uint64_t x, uint64_t* partial) {
  for (int offset = 16; offset > 0; offset /= 2) x = max(x, __shfl_xor_sync(kAllLanes, x, offset));
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  uint64_t largest = 0;
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / 32; warp++) largest = max(largest, partial[warp]);
  __syncthreads();
  return largest;
}

}  // namespace tessera::cuda
