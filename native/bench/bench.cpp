/**
 * Owns the engine's benchmark: each operation at the shapes of InternViT-300M and Qwen2-0.5B (and 7B), against the peak rate of
 * multiply-adds and the read bandwidth measured in the same run, on the same threads.
 */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "../bench/gemm.h"
#include "../bench/machine.h"
#include "../bench/step.h"
#include "../bench/tower.h"
#include "ops/cpu/cpu_ops.h"
#include "runtime/aligned_memory.h"
#include "tests/support.h"

namespace {

using namespace tessera;

using bench::best_seconds;

/** Peak of one kernel's products: a tile whose operands stay in L1. */
double peak_gflops(const cpu::Kernels& kernels, const cpu::MatrixKernel& kernel, ThreadPool& pool) {
  const size_t k = 256;
  const int rows = kernels.max_rows;
  const int calls = 2000;
  const double seconds = best_seconds([&] {
    pool.parallel_for(pool.num_threads(), [&](size_t, int) {
      AlignedMemory a(k * rows * 4), b(k * cpu::kPanelWidth * 4 + 4096), c(rows * cpu::kPanelWidth * 4);
      for (int i = 0; i < calls; i++) {
        kernel.tile(rows, a.data(), b.data(), k / kernel.k_step, c.f32(), cpu::kPanelWidth, false, b.data());
      }
    });
  });
  return 2e-9 * k * rows * cpu::kPanelWidth * calls * pool.num_threads() / seconds;
}

struct OpsBench {
  Dtype dtype;
  WeightType type;
  int num_threads;
  double peak;   // GFLOP/s
  double reads;  // GB/s
  cpu::CpuOps ops;
  std::string only;  // what a name must contain
  tests::Random random{1};

  OpsBench(Dtype dtype, WeightType type, int num_threads, const cpu::Kernels& kernels)
      : dtype(dtype), type(type), num_threads(num_threads), ops(dtype, num_threads, kernels) {
    ThreadPool pool(num_threads);
    const auto& kernel = dtype == Dtype::kBf16 ? kernels.bf16 : dtype == Dtype::kFp16 ? kernels.f16 : kernels.f32;
    peak = peak_gflops(kernels, kernel, pool);
    reads = bench::ReadTest(pool).gbytes();
    std::printf("%s, %d threads: tile in L1 %.0f GFLOP/s, reading memory %.1f GB/s\n", kernels.name, num_threads, peak,
                reads);
  }

  bool is_wanted(const std::string& name) const { return name.find(only) != std::string::npos; }

  void flops(const std::string& name, double count, const std::function<void()>& work) {
    if (!is_wanted(name)) return;
    const double seconds = best_seconds(work);
    std::printf("  %-34s %9.3f ms  %7.1f GFLOP/s  %5.1f %% of the tile's\n", name.c_str(), seconds * 1e3,
                count * 1e-9 / seconds, count * 1e-9 / seconds / peak * 100);
  }

  void bytes(const std::string& name, double count, const std::function<void()>& work) {
    if (!is_wanted(name)) return;
    const double seconds = best_seconds(work);
    std::printf("  %-34s %9.3f ms  %7.1f GB/s     %5.1f %% of reading\n", name.c_str(), seconds * 1e3,
                count * 1e-9 / seconds, count * 1e-9 / seconds / reads * 100);
  }

  void linear(const std::string& name, size_t m, size_t n, size_t k) {
    if (!is_wanted(name)) return;
    auto x = random.values(m * k);
    std::vector<float> y(m * n);
    const auto matrix = tests::make_matrix(ops, random.values(n * k, 0.05f), n, k, type);
    flops(name, 2.0 * m * n * k, [&] { ops.linear({x.data(), m, k}, *matrix, {}, {y.data(), m, n}); });
  }

  /** Several layers' weights in turn, more than any cache holds. */
  void decode(size_t m, size_t n, size_t k) {
    const std::string name = "decode " + std::to_string(m) + " rows, " + std::to_string(n) + " x " + std::to_string(k);
    if (!is_wanted(name)) return;
    auto x = random.values(m * k);
    std::vector<float> y(m * n);
    std::vector<std::unique_ptr<Matrix>> matrices;
    double total = 0;
    // Quantising takes long; a third of it is still more than any cache.
    while (total < (type == WeightType::kBase ? 300e6 : 100e6)) {
      matrices.push_back(tests::make_matrix(ops, random.values(n * k, 0.05f), n, k, type));
      total += matrices.back()->bytes;
    }
    bytes(name, total, [&] {
      for (const auto& matrix : matrices) ops.linear({x.data(), m, k}, *matrix, {}, {y.data(), m, n});
    });
  }

  void tile_attention(size_t tokens, int heads, size_t dim) {
    const size_t cols = heads * dim;
    auto qkv = random.values(tokens * 3 * cols);
    std::vector<float> y(tokens * cols);
    flops("tile attention, 1025 tokens", 4.0 * tokens * tokens * cols,
          [&] { ops.tile_attention({qkv.data(), tokens, 3 * cols}, tokens, heads, type, {y.data(), tokens, cols}); });
  }

  /** Writes the whole context of every sequence: memory never written is not read at memory's speed. */
  void fill(KvCache& cache, StepLayout step, size_t cols, int context, int layers) {
    auto qkv = random.values(context * cols);
    std::vector<int32_t> positions(context);
    for (int t = 0; t < context; t++) positions[t] = t;
    const std::vector<int32_t> starts = {0, context};
    const auto tables = step.block_tables;
    for (size_t first = 0; first < tables.size(); first += step.max_blocks) {
      step.positions = positions;
      step.query_starts = starts;
      step.block_tables = tables.subspan(first, step.max_blocks);
      for (int layer = 0; layer < layers; layer++) {
        ops.rotate_and_store({qkv.data(), static_cast<size_t>(context), cols}, step, cache, layer);
      }
    }
  }

  /** How a sequence's blocks follow each other. */
  enum class Order { kConsecutive, kScattered };

  void paged_attention(size_t sequences, int context, int queries, Order order = Order::kConsecutive) {
    const int heads = 14, kv_heads = 2, dim = 64, layers = 24;
    const size_t cols = (heads + 2 * kv_heads) * dim;
    const size_t tokens = sequences * queries;
    const int blocks = (context + kKvBlockSize - 1) / kKvBlockSize;
    auto cache = ops.make_kv_cache({layers, kv_heads, dim}, 0, blocks * static_cast<int>(sequences));
    auto qkv = random.values(tokens * cols);
    std::vector<float> y(tokens * heads * dim), turn(context * dim / 2, 0.5f);
    std::vector<int32_t> positions, starts = {0}, tables;
    for (size_t s = 0; s < sequences; s++) {
      for (int q = 0; q < queries; q++) positions.push_back(context - queries + q);
      starts.push_back(static_cast<int32_t>(positions.size()));
      for (int b = 0; b < blocks; b++) tables.push_back(static_cast<int32_t>(s * blocks + b));
    }
    if (order == Order::kScattered) std::shuffle(tables.begin(), tables.end(), std::minstd_rand(1));
    const StepLayout step = {positions, starts, tables, blocks, heads, turn.data(), turn.data()};
    const Rows rows(qkv.data(), tokens, cols);
    const std::string name = std::to_string(sequences) + " x " + std::to_string(queries) + " over " +
                             std::to_string(context) + " tokens, 24 layers" + (order == Order::kScattered ? ", scattered" : "");
    const auto work = [&] {
      for (int layer = 0; layer < layers; layer++) {
        ops.paged_attention(rows, step, *cache, layer, {y.data(), tokens, static_cast<size_t>(heads) * dim});
      }
    };
    fill(*cache, step, cols, context, layers);
    const double element = dtype == Dtype::kBf16 ? 2 : 4;
    if (queries == 1) {
      bytes(name, 2.0 * sequences * context * kv_heads * dim * element * layers, work);
    } else {
      flops(name, 4.0 * tokens * (context - queries / 2.0) * heads * dim * layers, work);
    }
  }
};

}  // namespace

/**
 * For each line of standard input, what the machine can do now, as one line of JSON: {"isa": "avx512_bf16", "readGBs": 48.1, "bf16GFlops": 462, "int8GOps": 920}.
 */
int print_machine(int num_threads) {
  ThreadPool pool(num_threads);
  bench::ReadTest reading(pool);
  for (std::string line; std::getline(std::cin, line);) {
    std::printf("{\"isa\":\"%s\",\"readGBs\":%.2f,\"bf16GFlops\":%.1f,\"int8GOps\":%.1f}\n", cpu::choose_kernels().name,
                reading.gbytes(), bench::bf16_peak(pool), bench::int8_peak(pool));
    std::fflush(stdout);
  }
  return 0;
}

WeightType type_of(const std::string& dtype) {
  return dtype == "int8"  ? WeightType::kInt8
         : dtype == "nf4" ? WeightType::kNf4
         : dtype == "fp4" ? WeightType::kFp4 : WeightType::kBase;
}

/**
 * Arguments: threads (default 1), `machine` for its limits alone, `gemm` for products on request,
 * `step [batch [context [chunk [runs [dtype]]]]]` for whole steps of the decoder, of a chunk above 1 for prompts,
 * `tower [runs]` for tiles through the vision tower in bf16 and int8; or
 * dtype (bf16, fp16, fp32, int8, nf4 or fp4; the last three beside the bf16 tile's peak); then what the names of operations
 * must contain.
 * TESSERA_ISA chooses the kernels.
 */
int main(int argc, char** argv) {
  const int num_threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const std::string dtype = argc > 2 ? argv[2] : "bf16";
  if (dtype == "machine") return print_machine(num_threads);
  if (dtype == "gemm") return bench::print_gemm(num_threads);
  if (dtype == "step") {
    const auto number = [&](int at, int otherwise) { return argc > at ? std::max(1, std::atoi(argv[at])) : otherwise; };
    return bench::print_step(type_of(argc > 7 ? argv[7] : "bf16"), num_threads, number(3, 1), number(4, 300), number(5, 1),
                             number(6, 9));
  }
  if (dtype == "tower") return bench::print_tower(num_threads, argc > 3 ? std::max(1, std::atoi(argv[3])) : 5);
  const WeightType type = type_of(dtype);
  OpsBench bench(dtype == "fp32" ? Dtype::kFp32 : dtype == "fp16" ? Dtype::kFp16 : Dtype::kBf16, type, num_threads,
              cpu::choose_kernels());
  if (argc > 3) bench.only = argv[3];
  bench.linear("ViT qkv 1025 x 3072 x 1024", 1025, 3072, 1024);
  bench.linear("ViT proj 1025 x 1024 x 1024", 1025, 1024, 1024);
  bench.linear("ViT fc1 1025 x 4096 x 1024", 1025, 4096, 1024);
  bench.linear("ViT fc2 1025 x 1024 x 4096", 1025, 1024, 4096);
  bench.linear("Qwen qkv 512 x 1152 x 896", 512, 1152, 896);
  bench.linear("Qwen gate+up 512 x 9728 x 896", 512, 9728, 896);
  bench.linear("Qwen down 512 x 896 x 4864", 512, 896, 4864);
  // The 8B's long rows: neither a panel nor a block of activations fits in L2.
  bench.linear("8B up 512 x 4736 x 3584", 512, 4736, 3584);
  bench.linear("8B down 512 x 3584 x 18944", 512, 3584, 18944);
  bench.tile_attention(1025, 16, 64);
  bench.paged_attention(1, 2048, 512);
  for (size_t m : {1, 2, 4, 8, 16}) bench.decode(m, 4864, 896);
  bench.decode(1, 896, 4864);
  bench.decode(1, 1152, 896);
  bench.decode(1, 896, 896);
  bench.decode(1, 9728, 896);
  for (size_t m : {1, 8}) {
    bench.decode(m, 4736, 3584);
    bench.decode(m, 3584, 18944);
  }
  for (size_t sequences : {1, 8}) {
    bench.paged_attention(sequences, 3400, 1);
    bench.paged_attention(sequences, 3400, 1, OpsBench::Order::kScattered);
  }
}
