/**
 * Owns the draw of a token from logits, by the definition in `ops/sampling.h`. Two launches: parts of a row in parallel
 * apply biases and penalties and leave their largest logit and sum of exponentials; then one block a row cuts and draws.
 * Nothing is sorted: every cut and the draw itself are selections of a key by weight (`block_select.cuh`). Masses are
 * whole numbers of 2^-44 of the largest, so results do not depend on the order of threads.
 *
 * Bytes are the limit: 4 a logit in the first launch. The second reads nothing more where the temperature is 0; with
 * top_p alone once, with top_k seven times, without either four times, by one multiprocessor a row from L2.
 */
#include "ops/cuda/kernels/block_select.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

constexpr int kPartSize = 4096;
constexpr int kPartThreads = 256;
constexpr int kDrawThreads = 512;
/** Candidates that are kept in shared memory; more are found among the logits again in each pass. */
constexpr int kListSize = 2048;
constexpr float kMassUnits = 0x1p44f;
/** Tokens that weigh less than this share together are never drawn. */
constexpr float kLightShare = 0x1p-40f;

/** What a part of a row leaves. Keys are those of the largest logits; 0 where one is no number. */
struct PartStats {
  uint64_t plain_best;
  uint64_t best;
  float plain_sum;  // of exp(logit - own largest)
  float sum;        // of exp((changed logit - own largest) / temperature)
};

/** What changed logits were before, one for each entry of the lists; and the parts' results. */
struct Workspace {
  PartStats* parts;  // [rows][num_parts]
  float* plain_seen;
  float* plain_biased;
};

__device__ __forceinline__ float inverse_temperature(float temperature) {
  // Finite, or 0 * infinity would be the largest's.
  return temperature > 0 ? min(1.0f / temperature, 1e30f) : 0.0f;
}

/** exp(scale * (x - max)), where both may be -infinity. */
__device__ __forceinline__ float relative_exp(float x, float max, float scale) {
  return x == -INFINITY ? 0.0f : __expf((x - max) * scale);
}

/** Largest key and sum of exponentials of `count` values in shared memory. */
__device__ void reduce_part(const float* values, int first, int count, float scale, uint64_t* partial_keys,
                            float* partial_sums, uint64_t* best, float* sum) {
  uint64_t key = 0;
  float number_of_nan = 0;
  for (int i = threadIdx.x; i < count; i += kPartThreads) {
    key = max(key, sort_key(values[i], first + i));
    number_of_nan += values[i] == values[i] ? 0.0f : 1.0f;
  }
  key = block_max(key, partial_keys);
  const float largest = logit_of(key);
  float own = 0;
  for (int i = threadIdx.x; i < count; i += kPartThreads) own += relative_exp(values[i], largest, scale);
  *sum = block_sum(own, partial_sums);
  *best = block_sum(number_of_nan, partial_sums) > 0 ? 0 : key;
}

/** One block a part and row. */
__global__ void sample_parts_kernel(float* logits, size_t stride, int vocab, SamplingTables tables, Workspace workspace) {
  GPU_SHARED(float[kPartSize], values);
  GPU_SHARED(uint64_t[32], partial_keys);
  GPU_SHARED(float[32], partial_sums);
  const SamplingRow row = tables.rows[blockIdx.y];
  const int first = blockIdx.x * kPartSize;
  const int count = min(kPartSize, vocab - first);
  float* own = logits + blockIdx.y * stride + first;
  for (int i = threadIdx.x; i < count; i += kPartThreads) values[i] = own[i];
  __syncthreads();
  PartStats stats;
  reduce_part(values, first, count, 1.0f, partial_keys, partial_sums, &stats.plain_best, &stats.plain_sum);

  // A list names an id once at most, so no two threads change one value between two barriers.
  const auto each_own = [&](const int32_t* ids, int begin, int size, auto change) {
    for (int i = begin + threadIdx.x; i < begin + size; i += kPartThreads) {
      const int at = ids[i] - first;
      if (at >= 0 && at < count) change(i, values[at]);
    }
  };
  each_own(tables.bias_ids, row.first_bias, row.num_biases, [&](int i, float& x) { workspace.plain_biased[i] = x; });
  each_own(tables.seen_ids, row.first_seen, row.num_seen, [&](int i, float& x) { workspace.plain_seen[i] = x; });
  __syncthreads();
  each_own(tables.bias_ids, row.first_bias, row.num_biases, [&](int i, float& x) { x += tables.biases[i]; });
  __syncthreads();
  each_own(tables.seen_ids, row.first_seen, row.num_seen, [&](int i, float& x) {
    x = x < 0 ? x * row.repetition_penalty : x / row.repetition_penalty;
    const int32_t seen = tables.seen_counts[i];
    if (seen > 0) x -= row.presence_penalty + static_cast<float>(seen) * row.frequency_penalty;
  });
  __syncthreads();
  each_own(tables.bias_ids, row.first_bias, row.num_biases, [&](int i, float& x) { own[tables.bias_ids[i] - first] = x; });
  __syncthreads();  // an id may be in both lists
  each_own(tables.seen_ids, row.first_seen, row.num_seen, [&](int i, float& x) { own[tables.seen_ids[i] - first] = x; });
  const float scale = inverse_temperature(row.temperature);
  reduce_part(values, first, count, scale, partial_keys, partial_sums, &stats.best, &stats.sum);
  if (threadIdx.x == 0) workspace.parts[blockIdx.y * gridDim.x + blockIdx.x] = stats;
}

struct Entry {
  float logit;
  int32_t id;
};

struct DrawMemory {
  SelectMemory select;
  uint64_t partial[32];
  float partial_sums[32];
  Entry list[kListSize];
  int list_size;
};

/** Tokens that may be drawn: those of a row's logits whose key is `bound` or more, in a list where they are few. */
struct Candidates {
  const float* logits;
  int vocab;
  uint64_t bound = 0;
  bool is_listed = false;
  DrawMemory& memory;

  /** Calls f(logit, id, whether it is a candidate) by whole warps. */
  template <class F>
  __device__ void each(F f) const {
    const int lane = threadIdx.x % 32;
    const int count = is_listed ? memory.list_size : vocab;
    for (int first = threadIdx.x - lane; first < count; first += blockDim.x) {
      const int i = first + lane;
      const bool is_there = i < count;
      const float logit = !is_there ? 0.0f : is_listed ? memory.list[i].logit : logits[i];
      const int id = is_there && is_listed ? memory.list[i].id : i;
      f(logit, id, is_there && sort_key(logit, id) >= bound);
    }
  }

  /** From now on only keys from `key` on, kept in shared memory where there is room. */
  __device__ void keep_from(uint64_t key) {
    bound = key;
    if (is_listed) return;
    if (threadIdx.x == 0) memory.list_size = 0;
    __syncthreads();
    each([&](float logit, int id, bool is_candidate) {
      if (!is_candidate) return;
      const int at = atomicAdd(&memory.list_size, 1);
      if (at < kListSize) memory.list[at] = {logit, id};
    });
    __syncthreads();
    is_listed = memory.list_size <= kListSize;
  }

  /** The key at which `weight(logit)` of the largest, in order, passes `target`. */
  template <class Weight>
  __device__ uint64_t find(uint64_t target, Weight weight) const {
    return select(memory.select, kSortKeyBits, target, [&](auto add) {
      each([&](float logit, int id, bool is_candidate) {
        add(sort_key(logit, id), is_candidate ? weight(logit) : uint64_t{0});
      });
    });
  }

  template <class Weight>
  __device__ uint64_t total(Weight weight) const {
    uint64_t own = 0;
    each([&](float logit, int, bool is_candidate) { own += is_candidate ? weight(logit) : 0; });
    return block_sum(own, memory.partial);
  }
};

__device__ __forceinline__ uint64_t splitmix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/** A whole number from 0 to total - 1, by 53 bits of (seed, position). */
__device__ __forceinline__ uint64_t draw_below(uint64_t total, uint64_t seed, uint64_t position) {
  return gpu::multiply_high(splitmix(splitmix(seed) ^ position) >> 11 << 11, total);
}

/** The token drawn from changed logits whose largest is `max`; `sum` is of exp((logit - max) / temperature). */
__device__ int draw(const SamplingRow& row, Candidates candidates, float max, float sum) {
  const float scale = inverse_temperature(row.temperature);
  const auto mass = [&](float logit) {
    return static_cast<uint64_t>(relative_exp(logit, max, scale) * kMassUnits);
  };
  const auto one = [](float) { return uint64_t{1}; };
  const bool has_top_k = row.top_k > 0 && row.top_k < candidates.vocab;
  const bool has_top_p = row.top_p < 1;
  uint64_t total = static_cast<uint64_t>(sum * kMassUnits);
  if (has_top_k) {
    candidates.keep_from(candidates.find(static_cast<uint64_t>(row.top_k - 1), one));
    total = candidates.total(mass);
  } else if (has_top_p) {
    // Tokens beyond top_p's share are never needed to reach it; the exact cut comes below.
    const float share = fmaxf(1 - row.top_p, kLightShare);
    const float light = fmaxf(fminf(1, sum * share / static_cast<float>(candidates.vocab)) * 0.999f, row.min_p * 0.999f);
    candidates.keep_from(sort_key(max + row.temperature * __logf(light), kMaxIds - 1));
  }
  if (has_top_p) {
    const uint64_t there = candidates.total(mass);
    const auto wanted = static_cast<uint64_t>(row.top_p * static_cast<double>(total));
    const uint64_t target = wanted < 1 ? 0 : min(wanted, there) - 1;
    candidates.keep_from(candidates.find(target, mass));
  }
  const auto kept_mass = [&](float logit) {
    return relative_exp(logit, max, scale) < row.min_p ? uint64_t{0} : mass(logit);
  };
  const uint64_t target = draw_below(candidates.total(kept_mass), row.seed, row.position);
  if (has_top_k || has_top_p) return id_of(candidates.find(target, kept_mass));
  // Without an order by logits tokens lie in that of their ids.
  return id_of(select(candidates.memory.select, kIdKeyBits, target, [&](auto add) {
    candidates.each([&](float logit, int id, bool is_candidate) {
      add(id_key(is_candidate ? id : 0), is_candidate ? kept_mass(logit) : uint64_t{0});
    });
  }));
}

/** Parts put together: largest key, or 0 where there is none to draw, and the sum relative to it. */
__device__ void join_parts(const PartStats* parts, int num_parts, uint64_t PartStats::*best, float PartStats::*sum,
                           float scale, DrawMemory& memory, uint64_t* whole_best, float* whole_sum) {
  uint64_t key = 0;
  float number_of_nan = 0;
  for (int i = threadIdx.x; i < num_parts; i += blockDim.x) {
    key = max(key, parts[i].*best);
    number_of_nan += parts[i].*best == 0 ? 1.0f : 0.0f;
  }
  key = block_max(key, memory.partial);
  const float largest = logit_of(key);
  const bool is_drawable =
      block_sum(number_of_nan, memory.partial_sums) == 0 && largest > -INFINITY && largest < INFINITY;
  float own = 0;
  if (is_drawable) {
    for (int i = threadIdx.x; i < num_parts; i += blockDim.x) {
      own += parts[i].*sum * relative_exp(logit_of(parts[i].*best), largest, scale);
    }
  }
  *whole_sum = block_sum(own, memory.partial_sums);
  *whole_best = is_drawable ? key : 0;
}

/** The `num_top` largest, in order, with their log-probabilities. */
__device__ void tell_top(const SamplingRow& row, Candidates candidates, float max, float log_sum, int32_t* ids,
                         float* logprobs) {
  const int count = min(row.num_top, candidates.vocab);
  candidates.keep_from(candidates.find(static_cast<uint64_t>(count - 1), [](float) { return uint64_t{1}; }));
  const Entry* list = candidates.memory.list;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    int place = 0;
    for (int k = 0; k < count; k++) place += sort_key(list[k].logit, list[k].id) > sort_key(list[i].logit, list[i].id);
    ids[place] = list[i].id;
    logprobs[place] = list[i].logit - max - log_sum;
  }
}

/** One block a row. */
__global__ void __launch_bounds__(kDrawThreads, 1)
    draw_kernel(float* logits, size_t stride, int vocab, int num_parts, SamplingTables tables, Workspace workspace,
                SampledRows out) {
  GPU_SHARED(DrawMemory, memory);
  const SamplingRow row = tables.rows[blockIdx.x];
  const PartStats* parts = workspace.parts + static_cast<size_t>(blockIdx.x) * num_parts;
  float* own = logits + blockIdx.x * stride;
  uint64_t plain_best, best;
  float plain_sum, sum;
  join_parts(parts, num_parts, &PartStats::plain_best, &PartStats::plain_sum, 1, memory, &plain_best, &plain_sum);
  join_parts(parts, num_parts, &PartStats::best, &PartStats::sum, inverse_temperature(row.temperature), memory, &best,
             &sum);
  for (int i = threadIdx.x; i < out.max_top; i += blockDim.x) {
    out.top_ids[blockIdx.x * out.max_top + i] = -1;
    out.top_logprobs[blockIdx.x * out.max_top + i] = 0;
  }
  int id = -1;
  if (plain_best != 0 && best != 0) {
    const Candidates candidates = {.logits = own, .vocab = vocab, .memory = memory};
    id = row.temperature == 0 ? id_of(best) : draw(row, candidates, logit_of(best), sum);
  }
  // Whoever reads what is changed has done so; then the logits are as they came.
  __syncthreads();
  for (int i = threadIdx.x; i < row.num_biases; i += blockDim.x) {
    own[tables.bias_ids[row.first_bias + i]] = workspace.plain_biased[row.first_bias + i];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < row.num_seen; i += blockDim.x) {
    const int id = tables.seen_ids[row.first_seen + i];
    if (id >= 0) own[id] = workspace.plain_seen[row.first_seen + i];
  }
  __syncthreads();
  const float log_sum = __logf(plain_sum);
  const float largest = logit_of(plain_best);
  if (threadIdx.x == 0) {
    out.ids[blockIdx.x] = id;
    out.logprobs[blockIdx.x] = id < 0 ? 0.0f : own[id] - largest - log_sum;
  }
  if (id < 0 || row.num_top == 0) return;
  tell_top(row, {.logits = own, .vocab = vocab, .memory = memory}, largest, log_sum,
           out.top_ids + blockIdx.x * out.max_top, out.top_logprobs + blockIdx.x * out.max_top);
}

int num_parts_of(int vocab) { return (vocab + kPartSize - 1) / kPartSize; }

}  // namespace

size_t sampling_workspace_bytes(int num_rows, int vocab, int num_seen, int num_biases) {
  const size_t parts = static_cast<size_t>(num_rows) * num_parts_of(vocab) * sizeof(PartStats);
  return parts + (static_cast<size_t>(num_seen) + num_biases) * sizeof(float);
}

cudaError_t sample(float* logits, size_t stride, int num_rows, int vocab, const SamplingTables& tables, void* workspace,
                   const SampledRows& out, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  if (vocab < 1 || vocab >= kMaxIds || out.max_top > kMaxTop) return cudaErrorInvalidValue;
  const int num_parts = num_parts_of(vocab);
  auto* parts = static_cast<PartStats*>(workspace);
  auto* plain_seen = reinterpret_cast<float*>(parts + static_cast<size_t>(num_rows) * num_parts);
  const Workspace memory = {parts, plain_seen, plain_seen + tables.num_seen};
  const auto rows = static_cast<unsigned>(num_rows);
  const gpu::LaunchShape parts_shape = {
      .grid = dim3(static_cast<unsigned>(num_parts), rows), .block = dim3(kPartThreads), .stream = stream};
  const cudaError_t error =
      gpu::launch("sample_parts", parts_shape, sample_parts_kernel, logits, stride, vocab, tables, memory);
  if (error != cudaSuccess) return error;
  const gpu::LaunchShape draw_shape = {.grid = dim3(rows), .block = dim3(kDrawThreads), .stream = stream};
  return gpu::launch("draw", draw_shape, draw_kernel, logits, stride, vocab, num_parts, tables, memory, out);
}

}  // namespace tessera::cuda
