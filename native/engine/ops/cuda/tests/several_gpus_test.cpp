/** Owns tests of an engine over several GPUs: heads and MLP cut over them, towers on each, a step's parts at once on stages. */
#include <cmath>
#include <cstdlib>
#include <vector>

#include "ops/cuda/tests/engine_batch.h"
#include "runtime/timeline.h"
#include "tests/check.h"
#include "tests/tiny_model.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

/** bf16 between operations, sums in another order: relative to the largest logit. */
constexpr float kTolerance = 0.03f;

Batch prompts() {
  Batch batch;
  batch.add(0, 0, 44, 1);
  batch.add(1, 0, 18, 0);
  batch.add(2, 0, 1);
  batch.add(3, 0, 9);
  return batch;
}

/** Logits of prompts with tiles, of a step in which some decode, and of decoding alone, which is recorded and replayed. */
std::vector<float> run(Engine& engine, int num_decodes = 3) {
  encode(engine);
  std::vector<float> out = engine.tile_embeddings(std::vector<int32_t>{0, 1});
  const auto step = [&](const Batch& batch) {
    const std::vector<float> logits = engine.logits(batch.view());
    out.insert(out.end(), logits.begin(), logits.end());
  };
  step(prompts());
  Batch mixed;
  mixed.add(0, 44, 1);
  mixed.add(1, 18, 34);
  mixed.add(3, 9, 1);
  step(mixed);
  for (int i = 0; i < num_decodes; i++) {
    Batch decode;
    decode.add(0, 45 + i, 1);
    decode.add(1, 52 + i, 1);
    decode.add(2, 1 + i, 1);
    step(decode);
  }
  Batch last;
  last.add(0, 45 + num_decodes, 1);
  const StepResult result = engine.step(last.view());
  out.insert(out.end(), result.logprobs.begin(), result.logprobs.end());
  return out;
}

EngineOptions options_of(const Folder& folder, Device device, int tensor_parallel = 1) {
  EngineOptions options = tiny_options(folder);
  options.dtype = Dtype::kBf16;
  options.device = device;
  options.tensor_parallel = tensor_parallel;
  options.kv_cache_bytes = 1 << 20;
  return options;
}

float largest(const std::vector<float>& values) {
  float most = 0;
  for (const float value : values) most = std::max(most, std::fabs(value));
  return most;
}

void check_near(const std::vector<float>& got, const std::vector<float>& expected) {
  CHECK_EQUAL(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); i++) {
    if (!(std::fabs(got[i] - expected[i]) <= kTolerance * largest(expected))) return CHECK_EQUAL(got[i], expected[i]);
  }
}

}  // namespace

TEST(heads_cut_over_gpus_compute_what_one_gpu_does) {
  const Folder folder;
  write_tiny_model(folder, {.trained_length = 192, .head_dim = 8});
  const auto one = run(*Engine::open(options_of(folder, Device::kCuda)));
  for (const int vision_devices : {0, 1}) {
    EngineOptions options = options_of(folder, Device::kCuda, 3);
    options.vision_devices = vision_devices;
    const auto engine = Engine::open(options);
    CHECK_EQUAL(engine->info().num_devices, 3);
    const auto got = run(*engine);
    check_near(got, one);
    // Recordings of one run serve the next, tiles and prompts between them.
    if (vision_devices == 0) CHECK(run(*engine) == got);
  }
  // The CPU's virtual devices add in the same order.
  check_near(run(*Engine::open(options_of(folder, Device::kCpu, 3))), one);
}

TEST(without_nccl_several_gpus_are_refused_by_its_name) {
  const Folder folder;
  write_tiny_model(folder, {.trained_length = 192, .head_dim = 8});
  if (std::getenv("CUEMU_LIBRARIES") == nullptr) {
    CHECK(Engine::open(options_of(folder, Device::kCuda, 3)) != nullptr);
  } else {
    CHECK_REFUSES("Cannot open libnccl.so.2", Engine::open(options_of(folder, Device::kCuda, 3)));
    CHECK_REFUSES("nvidia-nccl-cu13", Engine::open(options_of(folder, Device::kCuda, 3)));
    CHECK(Engine::open(options_of(folder, Device::kCuda)) != nullptr);
  }
}

TEST(parts_of_a_step_are_at_work_on_several_stages_at_once) {
  const Folder folder;
  write_tiny_model(folder, {.num_layers = 5, .trained_length = 192, .head_dim = 8});
  const auto one = run(*Engine::open(options_of(folder, Device::kCuda)), 0);
  for (const std::vector<int>& split : {std::vector<int>{0, 1, 2, 3, 0}, {0, 1, 2, 3, 3}}) {
    EngineOptions options = options_of(folder, Device::kCuda);
    options.layer_devices = split;
    double makespans[2], overlaps[2];
    for (const int is_cut : {0, 1}) {
      options.micro_batch_rows = is_cut != 0 ? 16 : 0;
      const auto engine = Engine::open(options);
      if (is_cut != 0) CHECK(run(*engine, 0) == one);
      encode(*engine);
      cuemu::start_timeline();
      engine->step(prompts().view());
      const cuemu::Timeline timeline = cuemu::end_timeline();
      makespans[is_cut] = timeline.makespan();
      overlaps[is_cut] = timeline.overlap(0, 1) + timeline.overlap(1, 2) + timeline.overlap(2, 3);
    }
    // Whole, stages wait for each other. Ideal for two parts and five even stages were 3/5 of that time.
    CHECK_EQUAL(overlaps[0], 0.0);
    CHECK(overlaps[1] > 0.2 * makespans[1]);
    CHECK(makespans[1] < 0.8 * makespans[0]);
  }
}
