/** Owns tests of which algorithms products take: the quickest that was measured, kept in a file that is never trusted. */
#include <filesystem>
#include <fstream>
#include <iterator>

#include "ops/cuda/blas/algorithms.h"
#include "ops/cuda/blas/gemm.h"
#include "ops/cuda/tests/steps.h"
#include "runtime/counters.h"
#include "tests/check.h"

using namespace tessera;
using namespace tessera::tests;
using cuda::Algorithms;

namespace {

namespace fs = std::filesystem;

const Algorithms::Machine kMachine = {"NVIDIA H100 80GB HBM3", 13000, 130002};
const cuda::lt::Algorithm kSome = {{1, 2, 3, 0, 0, 0, 0, ~uint64_t{0}}};

std::vector<fs::path> files_in(const std::string& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  return files;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

bool has_some(const std::string& folder, const Algorithms::Machine& machine) {
  Algorithms algorithms;
  algorithms.open(folder, machine);
  const auto* found = algorithms.find("bf16 1 2 3");
  return found != nullptr && std::equal(std::begin(found->data), std::end(found->data), std::begin(kSome.data));
}

void keep_some(const std::string& folder) {
  Algorithms algorithms;
  algorithms.open(folder, kMachine);
  algorithms.keep("bf16 1 2 3", kSome);
  algorithms.save();
}

EngineOptions tuned_options(const Folder& model, const std::string& folder) {
  EngineOptions options = options_of(model, Device::kCuda);
  options.max_step_tokens = 36;
  options.max_step_sequences = 4;
  options.algorithm_cache = folder;
  return options;
}

/** What a step of four sequences with so many new tokens each came to. */
struct Outcome {
  uint64_t products = 0, slow = 0;  // that took longer than need be
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
};

Outcome run(Engine& engine, int tokens_each) {
  Step step;
  const Sequence sequence = {std::vector<int32_t>(static_cast<size_t>(tokens_each) + 1, 3), 1};
  for (int i = 0; i < 4; i++) step.add(i, sequence, 0, tokens_each, -1);
  const cuemu::Counters before = cuemu::counters();
  StepResult result = engine.step(step.view());
  const cuemu::Counters after = cuemu::counters();
  CHECK(after.waits - before.waits <= 1);  // nothing is measured on the way: that waits for each
  return {after.products - before.products, after.slow_products - before.slow_products, std::move(result.token_ids),
          std::move(result.logprobs)};
}

}  // namespace

TEST(what_is_kept_is_of_one_machine_and_whole) {
  const Folder folder;
  const std::string cache = folder.path + "/made/as/needed";
  keep_some(cache);
  CHECK(has_some(cache, kMachine));
  CHECK_EQUAL(files_in(cache).size(), size_t{1});
  for (const Algorithms::Machine& other : {Algorithms::Machine{"NVIDIA L4", 13000, 130002},
                                           {"NVIDIA H100 80GB HBM3", 13010, 130002},
                                           {"NVIDIA H100 80GB HBM3", 13000, 130100}}) {
    CHECK(!has_some(cache, other));
  }
  const fs::path path = files_in(cache)[0];
  const std::string whole = read_file(path);
  // Cut short, changed in any byte, of another machine under this name, or no such file at all.
  for (size_t at = 0; at < whole.size(); at++) {
    write_file(path, whole.substr(0, at));
    CHECK(!has_some(cache, kMachine));
    std::string changed = whole;
    changed[at] ^= 1;
    write_file(path, changed);
    CHECK(!has_some(cache, kMachine));
  }
  write_file(path, std::string(5 << 20, 'x'));
  CHECK(!has_some(cache, kMachine));
  // It is written anew, and what others keep meanwhile stays.
  keep_some(cache);
  CHECK(has_some(cache, kMachine));
  Algorithms first, second;
  first.open(cache, kMachine);
  second.open(cache, kMachine);
  first.keep("first", kSome);
  second.keep("second", kSome);
  first.save();
  second.save();
  Algorithms all;
  all.open(cache, kMachine);
  CHECK(all.find("first") != nullptr && all.find("second") != nullptr && has_some(cache, kMachine));
  CHECK_EQUAL(files_in(cache).size(), size_t{1});
}

TEST(a_folder_that_cannot_be_written_costs_nothing_else) {
  const Folder folder;
  folder.write("file", "no folder");
  keep_some(folder.path + "/file");
  CHECK(!has_some(folder.path + "/file", kMachine));
}

TEST(products_take_the_quickest_algorithm_and_are_measured_once) {
  const Folder model;
  write_tiny_model(model, {.num_layers = 1, .trained_length = 192, .head_dim = 8});
  const Folder cache;
  EngineOptions options = tuned_options(model, "");
  const auto untuned = Engine::open(options);
  CHECK_EQUAL(untuned->info().algorithms, std::string("off"));

  options = tuned_options(model, cache.path);
  const auto measured = Engine::open(options);
  CHECK(measured->info().algorithms.find("0 kept, ") == 0 && measured->info().algorithms != "0 kept, 0 measured");
  // Decoding, and prompts of 20, 28 and 36 tokens: of lengths that were rehearsed and between them.
  for (const int tokens_each : {1, 5, 7, 9}) {
    const Outcome expected = run(*untuned, tokens_each), got = run(*measured, tokens_each);
    CHECK(expected.products > 0 && expected.slow == expected.products);
    CHECK_EQUAL(got.products, expected.products);
    CHECK_EQUAL(got.slow, uint64_t{0});
    // All compute the same here.
    CHECK(got.ids == expected.ids && got.logprobs == expected.logprobs);
  }

  // One that the library no longer takes is measured again, and replaced.
  const fs::path path = files_in(cache.path)[0];
  Algorithms broken;
  broken.open(cache.path, {"CPU emulator", 13000, 130002});
  const std::string text = read_file(path);
  const size_t line = text.find("bf16 4 ");
  broken.keep(text.substr(line, text.find('\t', line) - line), kSome);
  broken.save();
  CHECK(Engine::open(options)->info().algorithms.find(", 1 measured") != std::string::npos);
  const auto kept = Engine::open(options);
  CHECK(kept->info().algorithms.find(", 0 measured") != std::string::npos);
  for (const int tokens_each : {1, 7}) CHECK_EQUAL(run(*kept, tokens_each).slow, uint64_t{0});
}

TEST(an_algorithm_that_is_not_good_for_other_rows_is_not_taken_there) {
  const Folder cache;
  cuda::Device device(0);
  cuda::Gemm gemm(device);
  const Buffer x = device.allocate(128 * 64 * 2), w = device.allocate(64 * 64 * 2), y = device.allocate(128 * 64 * 4);
  const auto run = [&](size_t rows) {
    const cuemu::Counters before = cuemu::counters();
    gemm.run({.m = rows, .n = 64, .k = 64, .x = x.memory.get(), .x_stride = 64, .w = w.memory.get(),
              .y = y.memory.get(), .y_stride = 64, .y_type = Element::kF32});
    device.synchronise();
    const cuemu::Counters after = cuemu::counters();
    return std::pair{after.products - before.products, after.slow_products - before.slow_products};
  };
  const auto quick = std::pair<uint64_t, uint64_t>{1, 0}, slow = std::pair<uint64_t, uint64_t>{1, 1};
  CHECK(run(7) == slow);
  // One for few rows, which the library does not take for many.
  gemm.tune(cache.path, [&] { (void)run(8); });
  CHECK(run(8) == quick);
  CHECK(run(5) == quick);
  CHECK(run(100) == slow);
  gemm.tune(cache.path, [&] { (void)run(96); });
  CHECK(run(101) == quick);
  CHECK(run(12) == quick);
  // Plans that are there stay.
  CHECK(run(100) == slow);
}
