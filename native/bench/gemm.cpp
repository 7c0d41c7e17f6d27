#include "../bench/gemm.h"

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "ops/cpu/cpu_ops.h"
#include "tests/support.h"

namespace tessera::bench {

int print_gemm(int num_threads) {
  cpu::CpuOps ops(Dtype::kBf16, num_threads, cpu::choose_kernels());
  tests::Random random(1);
  std::vector<std::unique_ptr<Matrix>> weights;
  size_t m = 0, n = 0, k = 0, copies = 0;
  while (std::cin >> m >> n >> k >> copies) {
    if (weights.size() != copies || weights[0]->rows != n || weights[0]->cols != k) {
      weights.clear();
      const auto values = random.values(n * k, 0.05f);
      while (weights.size() < copies) weights.push_back(tests::make_matrix(ops, values, n, k, WeightType::kBase));
    }
    auto x = random.values(m * k);
    std::vector<float> y(m * n);
    const auto start = std::chrono::steady_clock::now();
    for (const auto& weight : weights) ops.linear({x.data(), m, k}, *weight, {}, {y.data(), m, n});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%.9f\n", seconds.count() / static_cast<double>(copies));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace tessera::bench
