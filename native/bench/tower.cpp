#include "../bench/tower.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../bench/machine.h"
#include "../bench/timed_ops.h"
#include "model/vision_tower.h"
#include "ops/cpu/cpu_ops.h"
#include "tests/support.h"

namespace tessera::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kHidden = 1024, kMlp = 4096, kPatch = 14, kTile = 448, kDecoderHidden = 896;
constexpr int kLayers = 24, kHeads = 16;

ModelConfig config_of_1b() {
  ModelConfig config;
  config.vision.hidden_size = kHidden;
  config.vision.num_layers = kLayers;
  config.vision.num_heads = kHeads;
  config.vision.intermediate_size = kMlp;
  config.vision.trained_grid = kTile / kPatch;
  config.vision.patch_size = kPatch;
  config.vision.qkv_bias = true;
  config.vision.norm_eps = 1e-6f;
  config.decoder.hidden_size = kDecoderHidden;
  config.tile_size = kTile;
  config.shuffle_factor = 2;
  return config;
}

/** A tower of random weights, the layers' matrices of `type`. Every matrix has the same values in memory of its own. */
class Tower {
 public:
  Tower(int num_threads, WeightType type)
      : ops_(std::make_unique<cpu::CpuOps>(Dtype::kBf16, num_threads, cpu::choose_kernels())), config_(config_of_1b()),
        values_(4 * kHidden * kMlp) {
    tests::Random random(1);
    for (auto& value : values_) value = cpu::to_bf16(random.value() * 0.03f);
    VisionWeights& vision = weights_.vision;
    const size_t grid = kTile / kPatch;
    vision.class_embedding = constant(kHidden, 0.1f);
    vision.type = type;
    vision.positions = constant((1 + grid * grid) * kHidden, 0.1f);
    vision.patch = linear(kHidden, 3 * kPatch * kPatch, WeightType::kBase);
    for (int i = 0; i < kLayers; i++) {
      VisionLayer layer;
      layer.norm1 = layer.norm2 = norm(kHidden);
      layer.qkv = linear(3 * kHidden, kHidden, type);
      layer.proj = linear(kHidden, kHidden, type);
      layer.fc1 = linear(kMlp, kHidden, type);
      layer.fc2 = linear(kHidden, kMlp, type);
      layer.scale1 = layer.scale2 = constant(kHidden, 0.1f);
      vision.layers.push_back(std::move(layer));
    }
    weights_.projector.norm = norm(4 * kHidden);
    weights_.projector.linear1 = linear(kDecoderHidden, 4 * kHidden, WeightType::kBase);
    weights_.projector.linear2 = linear(kDecoderHidden, kDecoderHidden, WeightType::kBase);
    for (int i = 0; i < static_cast<int>(kTile * kTile * 3); i++) pixels_.push_back(static_cast<uint8_t>(random.word()));
    tower_ = std::make_unique<VisionTower>(config_, weights_, ops_);
  }

  /** Encodes one tile; adds its time, and that of each kind of operation, to the runs. */
  void run() {
    ops_.take_seconds();
    const auto start = Clock::now();
    tower_->encode(pixels_);
    runs_["whole tile"].push_back(std::chrono::duration<double>(Clock::now() - start).count());
    for (const auto& [name, seconds] : ops_.take_seconds()) runs_[name].push_back(seconds);
  }

  std::map<std::string, double> medians() const {
    std::map<std::string, double> out;
    for (auto [name, seconds] : runs_) {
      std::sort(seconds.begin(), seconds.end());
      out[name] = seconds[seconds.size() / 2];
    }
    return out;
  }

  void forget_runs() { runs_.clear(); }

 private:
  Buffer constant(size_t count, float value) {
    const std::vector<float> values(count, value);
    return ops_.upload(values.data(), 4 * count);
  }
  Norm norm(size_t count) { return {constant(count, 1.0f), constant(count, 0.0f)}; }
  Linear linear(size_t rows, size_t cols, WeightType type) {
    const HostTensor part = {"random", values_.data(), DiskType::kBf16, rows, cols};
    return {ops_.load_matrix({&part, 1}, Join::kStacked, type), constant(rows, 0.1f)};
  }

  TimedOps ops_;
  ModelConfig config_;
  std::vector<uint16_t> values_;
  TowerWeights weights_;
  std::vector<uint8_t> pixels_;
  std::unique_ptr<VisionTower> tower_;
  std::map<std::string, std::vector<double>> runs_;
};

}  // namespace

int print_tower(int num_threads, int runs) {
  Tower bf16(num_threads, WeightType::kBase), int8(num_threads, WeightType::kInt8);
  ThreadPool pool(num_threads);
  for (int i = 0; i <= runs; i++) {
    bf16.run();
    int8.run();
    if (i > 0) continue;
    bf16.forget_runs();  // the first run takes memory
    int8.forget_runs();
  }
  const auto wide = bf16.medians(), narrow = int8.medians();
  std::printf("peaks: bf16 %.0f GFLOP/s, int8 %.0f GOP/s; ms, bf16 and int8\n", bf16_peak(pool), int8_peak(pool));
  for (const auto& [name, seconds] : wide) {
    std::printf("  %-28s %9.2f %9.2f  %5.2fx\n", name.c_str(), seconds * 1e3, narrow.at(name) * 1e3,
                seconds / narrow.at(name));
  }
  return 0;
}

}  // namespace tessera::bench
