#include "model/weight_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "runtime/checksum.h"

namespace tessera {

namespace {

namespace fs = std::filesystem;

/** One more whenever packed bytes change in any layout; `weight_cache_test.cpp` notices when they do. */
constexpr int kPackingVersion = 2;
constexpr const char* kEnding = ".packed";
/** How long a process waits for another that packs the same weights; then it packs for itself and keeps nothing. */
constexpr auto kLongestWait = std::chrono::seconds(120);
constexpr auto kPollEvery = std::chrono::milliseconds(20);
/** The cache leaves this share of its disk free. */
constexpr uint64_t kFreeShare = 10;
/** Places of a checkpoint's file that its identity is taken from, beside its header, and bytes of each. */
constexpr uint64_t kNumSamples = 16;
constexpr uint64_t kSampleBytes = 4096;

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/** A file's header and samples of its data: another model differs everywhere, whatever its date says. */
uint64_t fingerprint(const MappedFile& file) {
  uint64_t header = 0;
  if (file.size() >= 8) std::memcpy(&header, file.data(), 8);
  header = std::min(header, file.size() - std::min<uint64_t>(file.size(), 8));
  uint64_t sum = checksum(file.data(), 8 + header);
  const uint64_t data = file.size() - 8 - header;
  for (uint64_t i = 0; i < kNumSamples; i++) {
    const uint64_t at = data / kNumSamples * i;
    sum = checksum(file.data() + 8 + header + at, std::min(kSampleBytes, data - at), sum);
  }
  return sum;
}

std::string file_name(const WeightCache::Wanted& wanted) {
  std::error_code error;
  const fs::path folder = fs::weakly_canonical(wanted.model_path, error);
  std::string name = folder.filename().string().substr(0, 64);
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') c = '_';
  }
  const std::string whole = folder.string();
  return name + "-" + wanted.dtype + "-" + wanted.isa + "-" + hex(checksum(whole.data(), whole.size())) + kEnding;
}

/** Whether the path still leads to the open file. */
bool is_same_file(int fd, const std::string& path) {
  struct stat opened, named;
  return fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

}  // namespace

std::string packed_identity(const Checkpoint& checkpoint, const std::string& dtype, const std::string& isa,
                            const std::string& matrices) {
  std::string text = "tessera packed weights " + std::to_string(kPackingVersion) + "\ndtype " + dtype + "\nisa " + isa +
                     "\nmatrices " + hex(checksum(matrices.data(), matrices.size())) + "\n";
  for (const auto& file : checkpoint.files()) {
    text += "file " + fs::path(file->path()).filename().string() + " " + std::to_string(file->size()) + " " +
            std::to_string(file->modified_ns()) + " " + hex(fingerprint(*file)) + "\n";
  }
  return text;
}

KeptFile::~KeptFile() {
  if (!finished_) ::unlink(part_path_.c_str());
  ::close(fd_);
}

void KeptFile::finish(const std::string& identity) {
  writer_.finish(identity);
  if (::rename(part_path_.c_str(), path_.c_str()) != 0) throw CannotKeep(std::strerror(errno));
  finished_ = true;
}

WeightCache::WeightCache(const WeightCacheOptions& options, Wanted wanted)
    : options_(options), wanted_(std::move(wanted)) {
  if (!options_.folder.empty()) path_ = options_.folder + "/" + file_name(wanted_);
}

void WeightCache::open() {
  if (path_.empty() || read()) return;
  try {
    begin();
  } catch (const CannotKeep& error) {
    give_up(error.what());
  } catch (const fs::filesystem_error& error) {
    give_up(error.code().message());
  }
}

bool WeightCache::read() {
  found_ = PackedFile::open(path_, wanted_.identity, wanted_.num_threads, stale_);
  if (found_ == nullptr) return false;
  note_ = "read";
  utimensat(AT_FDCWD, path_.c_str(), nullptr, 0);  // used last goes last; of no matter where it may not be written
  return true;
}

void WeightCache::begin() {
  if (wanted_.bytes > options_.max_bytes) {
    throw CannotKeep(std::to_string(wanted_.bytes >> 20) + " MiB are above the limit of " +
                     std::to_string(options_.max_bytes >> 20) + " MiB");
  }
  fs::create_directories(options_.folder);
  const std::string part_path = path_ + ".part";
  const auto deadline = std::chrono::steady_clock::now() + kLongestWait;
  for (;;) {
    const int fd = ::open(part_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) throw CannotKeep(std::strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
      // The one who wrote before may have renamed the file since it was opened here.
      if (is_same_file(fd, part_path)) {
        begun_ = std::make_unique<KeptFile>(fd, part_path, path_);
        // Another may have kept them since we looked, and have let go of the lock before we asked for it.
        if (read()) return begun_.reset();
        if (ftruncate(fd, 0) != 0) throw CannotKeep(std::strerror(errno));
        return make_room();
      }
      ::close(fd);
      continue;
    }
    const int error = errno;
    ::close(fd);
    if (error != EWOULDBLOCK && error != EINTR) throw CannotKeep(std::string("no lock: ") + std::strerror(error));
    if (std::chrono::steady_clock::now() > deadline) throw CannotKeep("another process has been packing for too long");
    std::this_thread::sleep_for(kPollEvery);
  }
}

/** Takes out what was used longest ago until the new file fits. Processes that have such a file mapped keep it. */
void WeightCache::make_room() const {
  struct Old {
    fs::file_time_type used;
    uint64_t bytes;
    fs::path path;
  };
  std::vector<Old> others;
  uint64_t total = wanted_.bytes;
  for (const auto& entry : fs::directory_iterator(options_.folder)) {
    std::error_code error;
    if (entry.path().extension() != kEnding || entry.path() == path_ || !entry.is_regular_file(error)) continue;
    const uint64_t bytes = entry.file_size(error);
    const auto used = entry.last_write_time(error);
    if (error) continue;
    others.push_back({used, bytes, entry.path()});
    total += bytes;
  }
  const fs::space_info space = fs::space(options_.folder);
  const uint64_t needed = wanted_.bytes + space.capacity / kFreeShare;
  if (space.available + (total - wanted_.bytes) < needed) {
    throw CannotKeep("less than a tenth of the disk would be left free");
  }
  uint64_t available = space.available;
  std::sort(others.begin(), others.end(), [](const Old& a, const Old& b) { return a.used < b.used; });
  for (const Old& old : others) {
    if (total <= options_.max_bytes && available >= needed) return;
    std::error_code error;
    if (!fs::remove(old.path, error)) continue;
    total -= old.bytes;
    available += old.bytes;
  }
}

void WeightCache::finish() {
  try {
    begun_->finish(wanted_.identity);
    note_ = stale_.empty() ? "written" : "rebuilt: " + stale_;
  } catch (const CannotKeep& error) {
    give_up(error.what());
  }
  begun_.reset();
}

void WeightCache::give_up(const std::string& why) {
  found_.reset();
  begun_.reset();
  note_ = "unused: " + why + (stale_.empty() ? "" : "; " + stale_);
}

}  // namespace tessera
