/** Owns the proof that kept weights are the packed ones bit for bit, and that anything wrong with the cache costs time alone. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <future>
#include <thread>

#include "runtime/checksum.h"
#include "tests/check.h"
#include "tests/fuzz.h"
#include "tests/support.h"
#include "tests/tiny_model.h"

namespace {

using namespace tessera;
using namespace tessera::tests;
namespace fs = std::filesystem;

/** A tiny model with a cache beside it. */
struct Kept {
  Folder model;
  Folder place;
  std::string cache = place.path + "/made/here";

  explicit Kept(uint64_t seed = 1) { write_tiny_model(model, {.seed = seed}); }

  EngineOptions options(Dtype dtype = Dtype::kBf16) const {
    EngineOptions options = tiny_options(model, 2);
    options.dtype = dtype;
    options.weight_cache = {cache, 1u << 30};
    return options;
  }
  std::unique_ptr<Engine> open(Dtype dtype = Dtype::kBf16) const { return Engine::open(options(dtype)); }
  std::string note(Dtype dtype = Dtype::kBf16) const { return open(dtype)->info().weight_cache; }

  std::vector<std::string> files() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(cache)) found.push_back(entry.path().string());
    return found;
  }
  std::string file() const {
    CHECK_EQUAL(files().size(), 1u);
    return files()[0];
  }
};

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_all(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/** Logits of a short prompt behind a tile, through tower and decoder. */
std::vector<float> logits(Engine& engine) {
  const std::vector<uint8_t> pixels(8 * 8 * 3, 90);
  const std::vector<int32_t> slot = {1};
  engine.encode_tiles(pixels, slot);
  const std::vector<int32_t> ids = {3, 0, 7}, positions = {0, 1, 2}, rows = {-1, 1, -1}, starts = {0, 3}, table = {0},
                             lengths = {3}, top_k = {0};
  const std::vector<uint8_t> sample = {1};
  const std::vector<float> temperature = {0}, top_p = {1};
  const std::vector<uint64_t> seed = {1};
  StepBatch batch = {ids, positions, rows, starts, table, 1, lengths, sample, temperature, top_p, top_k, seed};
  return engine.logits(batch);
}

TEST(kept_weights_are_the_packed_ones_bit_for_bit_in_every_type) {
  const Kept kept;
  for (Dtype dtype : {Dtype::kBf16, Dtype::kFp16, Dtype::kFp32, Dtype::kInt8, Dtype::kNf4, Dtype::kFp4}) {
    EngineOptions plain = kept.options(dtype);
    plain.weight_cache = {};
    const auto without = Engine::open(plain);
    CHECK_EQUAL(without->info().weight_cache, "off");
    const std::vector<float> expected = logits(*without);
    const auto first = kept.open(dtype);
    CHECK_EQUAL(first->info().weight_cache, "written");
    CHECK(same_bits(logits(*first), expected));
    const auto second = kept.open(dtype);
    CHECK_EQUAL(second->info().weight_cache, "read");
    CHECK(same_bits(logits(*second), expected));
    CHECK(same_bits(logits(*first), expected));
    CHECK_EQUAL(second->info().weight_bytes, without->info().weight_bytes);
  }
  CHECK_EQUAL(kept.files().size(), 6u);
}

TEST(packed_bytes_are_those_of_this_version) {
  // Where this fails, packed bytes have changed: raise kPackingVersion in weight_cache.cpp, then write down the new sums.
  const struct {
    Dtype dtype;
    WeightType type;
    uint64_t sum;
  } known[] = {
      {Dtype::kBf16, WeightType::kBase, 4882470965891527343u},
      {Dtype::kFp16, WeightType::kBase, 10312999362147656972u},
      {Dtype::kFp32, WeightType::kBase, 16724044384623378658u},
      {Dtype::kBf16, WeightType::kInt8, 8635144986659598825u},
      {Dtype::kBf16, WeightType::kInt8Head, 8635144986659598825u},
      {Dtype::kBf16, WeightType::kNf4, 17834305142566952099u},
      {Dtype::kBf16, WeightType::kFp4, 119650669076713429u},
  };
  const std::vector<float> values = Random(5).values(40 * 192);
  for (const auto& [dtype, type, sum] : known) {
    for (const cpu::Kernels* kernels : all_kernels()) {
      cpu::CpuOps ops(dtype, 1, *kernels);
      const auto matrix = make_matrix(ops, values, 40, 192, type);
      CHECK_EQUAL(matrix->packed().size(), matrix->bytes);
      CHECK_EQUAL(checksum(matrix->packed().data(), matrix->bytes), sum);
    }
  }
}

TEST(fuzz_damaged_cache_files_are_written_anew) {
  const Kept kept;
  const std::vector<float> expected = logits(*kept.open());
  const std::string good = read_all(kept.file());
  Random random(fuzz_seed() + 9);
  for (size_t i = 0; i < 16 + fuzz_cases() / 100; i++) {
    std::string bad = good;
    switch (i < 4 ? i : random.below(4)) {
      case 0: bad.resize(random.below(bad.size())); break;
      case 1: bad.append(1 + random.below(100), 'x'); break;
      case 2: bad[bad.size() - 1 - random.below(400)] ^= static_cast<char>(1 + random.below(255)); break;
      default:  // anywhere; between matrices nothing is ever read
        for (size_t at = random.below(997); at < bad.size(); at += 997) bad[at] ^= 1;
    }
    write_all(kept.file(), bad);
    const auto engine = kept.open();
    CHECK(engine->info().weight_cache.rfind("rebuilt: ", 0) == 0);
    CHECK(same_bits(logits(*engine), expected));
    CHECK(read_all(kept.file()) == good);
  }
  for (const char* text : {"", "x", "not a file of weights, but one that is longer than a footer"}) {
    write_all(kept.file(), text);
    CHECK(same_bits(logits(*kept.open()), expected));
    CHECK_EQUAL(kept.note(), "read");
  }
}

TEST(single_flipped_bits_of_kept_matrices_are_seen) {
  const Kept kept;
  kept.open();
  const std::string good = read_all(kept.file());
  Random random(3);
  size_t num_flipped = 0;
  for (size_t i = 0; i < 60; i++) {
    std::string bad = good;
    const size_t at = random.below(bad.size());
    if (bad[at] == 0) continue;  // perhaps between matrices
    bad[at] ^= static_cast<char>(1 << random.below(8));
    write_all(kept.file(), bad);
    CHECK(kept.note().rfind("rebuilt: ", 0) == 0);
    num_flipped++;
  }
  CHECK(num_flipped > 0);
}

TEST(kept_weights_go_with_the_checkpoint_and_the_version) {
  const Kept kept;
  kept.open();
  const Kept other(2);
  // The same names and sizes, other numbers, and even the same date.
  const std::string weights = kept.model.path + "/model.safetensors";
  const auto date = fs::last_write_time(weights);
  fs::copy_file(other.model.path + "/model.safetensors", weights, fs::copy_options::overwrite_existing);
  fs::last_write_time(weights, date);
  const auto changed = kept.open();
  CHECK(changed->info().weight_cache.find("has changed") != std::string::npos);
  CHECK(same_bits(logits(*changed), logits(*other.open())));
  CHECK_EQUAL(kept.note(), "read");
  // A date alone counts too.
  fs::last_write_time(weights, date + std::chrono::seconds(1));
  CHECK(kept.note().find("has changed") != std::string::npos);

  // Another version of the packing writes another text: everything in the file fits but that.
  std::string foreign = read_all(kept.file());
  const std::string text = "packed weights ";
  foreign[foreign.rfind(text) + text.size()] = '0';
  uint64_t table_at;
  std::memcpy(&table_at, foreign.data() + foreign.size() - 32, 8);
  const uint64_t sum = checksum(foreign.data() + table_at, foreign.size() - 32 - table_at);
  std::memcpy(foreign.data() + foreign.size() - 16, &sum, 8);
  write_all(kept.file(), foreign);
  CHECK(kept.note().find("has changed") != std::string::npos);
  CHECK_EQUAL(kept.note(), "read");
}

TEST(a_cache_that_cannot_be_used_is_left_alone) {
  const Kept kept;
  EngineOptions options = kept.options();
  const auto note = [&] { return Engine::open(options)->info().weight_cache; };
  options.weight_cache = {kept.place.write("file", "") + "/below", 1u << 30};
  CHECK(note().rfind("unused: ", 0) == 0);
  options.weight_cache = {kept.cache, 1000};
  CHECK(note().find("above the limit") != std::string::npos);
  CHECK(!fs::exists(kept.cache));
}

TEST(a_write_that_fails_in_the_middle_leaves_nothing) {
  const Kept kept;
  const std::vector<float> expected = logits(*Engine::open(tiny_options(kept.model)));
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  for (rlim_t most : {0, 100, 300'000}) {
    const rlimit little = {most, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &little);
    const auto engine = kept.open(Dtype::kFp32);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK(engine->info().weight_cache.rfind("unused: ", 0) == 0);
    CHECK(same_bits(logits(*engine), expected));
    CHECK(kept.files().empty());
  }
  CHECK_EQUAL(kept.note(), "written");
}

TEST(the_cache_keeps_to_its_limit_oldest_first) {
  const Kept kept;
  kept.open(Dtype::kFp32);
  const std::string oldest = kept.file();
  fs::last_write_time(oldest, fs::file_time_type::clock::now() - std::chrono::hours(1));
  kept.open(Dtype::kFp16);
  EngineOptions options = kept.options();
  options.weight_cache.max_bytes = fs::file_size(oldest) + 200'000;
  CHECK_EQUAL(kept.files().size(), 2u);
  CHECK_EQUAL(Engine::open(options)->info().weight_cache, "written");
  CHECK(!fs::exists(oldest));
  CHECK_EQUAL(kept.files().size(), 2u);
  // Used is as good as new.
  fs::last_write_time(kept.files()[0], fs::file_time_type::clock::now() - std::chrono::hours(2));
  fs::last_write_time(kept.files()[1], fs::file_time_type::clock::now() - std::chrono::hours(2));
  CHECK_EQUAL(kept.note(), "read");
}

TEST(engines_that_open_at_once_share_what_one_of_them_packs) {
  const Kept kept;
  const std::vector<float> expected = logits(*kept.open());
  for (int round = 0; round < 5; round++) {
    fs::remove_all(kept.cache);
    std::vector<std::string> notes(4);
    std::vector<int> same(4);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < notes.size(); i++) {
      threads.emplace_back([&, i] {
        const auto engine = kept.open();
        notes[i] = engine->info().weight_cache;
        same[i] = same_bits(logits(*engine), expected);
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK_EQUAL(std::count(notes.begin(), notes.end(), "written"), 1);
    CHECK_EQUAL(std::count(notes.begin(), notes.end(), "read"), 3);
    CHECK_EQUAL(std::count(same.begin(), same.end(), 1), 4);
    CHECK_EQUAL(kept.files().size(), 1u);
  }
}

TEST(what_a_dead_writer_left_is_no_obstacle) {
  const Kept kept;
  kept.open();
  const std::string path = kept.file();
  const std::string good = read_all(path);
  fs::rename(path, path + ".part");
  CHECK_EQUAL(kept.note(), "written");
  CHECK_EQUAL(kept.files().size(), 1u);
  CHECK(read_all(path) == good);
}

TEST(a_writer_is_waited_for) {
  const Kept kept;
  kept.open();
  const std::string path = kept.file();
  fs::rename(path, path + ".half");
  const int fd = ::open((path + ".part").c_str(), O_RDWR | O_CREAT, 0666);
  CHECK_EQUAL(flock(fd, LOCK_EX | LOCK_NB), 0);
  std::future<std::string> note = std::async(std::launch::async, [&] { return std::string(kept.note()); });
  CHECK(note.wait_for(std::chrono::milliseconds(100)) == std::future_status::timeout);
  fs::rename(path + ".half", path);
  fs::remove(path + ".part");
  ::close(fd);
  CHECK_EQUAL(note.get(), "read");
}

}  // namespace
