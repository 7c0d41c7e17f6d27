#include "model/packed_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "runtime/checksum.h"
#include "runtime/thread_pool.h"

namespace tessera {

namespace {

/** Where parts begin: a multiple of every page size in use. */
constexpr uint64_t kAlignment = 65536;
/** Bytes under one checksum. */
constexpr uint64_t kChunk = 4u << 20;
constexpr char kMagic[9] = "tsrapack";

/** The file's last bytes. */
struct Footer {
  uint64_t table_at;     // table, then identity, up to the footer
  uint64_t table_words;
  uint64_t checksum;     // of table and identity
  char magic[8];
};

uint64_t num_chunks(uint64_t bytes) { return (bytes + kChunk - 1) / kChunk; }

/** Maps `bytes` of a file from `at` on, for reading. */
std::shared_ptr<const char> map(int fd, uint64_t at, uint64_t bytes) {
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, static_cast<off_t>(at));
  if (mapped == MAP_FAILED) return nullptr;
#ifdef MADV_HUGEPAGE
  madvise(mapped, bytes, MADV_HUGEPAGE);  // where the file system has them, reads from disk come in large pages too
#endif
  return {static_cast<const char*>(mapped), [bytes](const char* start) { munmap(const_cast<char*>(start), bytes); }};
}

/** A piece of the file with what it must add up to. */
struct Chunk {
  std::span<const char> bytes;
  uint64_t checksum;
};

bool are_whole(const std::vector<Chunk>& chunks, int num_threads) {
  std::atomic<bool> whole{true};
  ThreadPool(num_threads).parallel_for(chunks.size(), [&](size_t i, int) {
    const auto& [bytes, expected] = chunks[i];
    if (checksum(bytes.data(), bytes.size()) != expected) whole = false;
  });
  return whole;
}

}  // namespace

std::unique_ptr<PackedFile> PackedFile::open(const std::string& path, const std::string& identity, int num_threads,
                                             std::string& why) {
  const auto refuse = [&](const std::string& reason) {
    why = reason;
    return nullptr;
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return refuse(errno == ENOENT ? "" : std::strerror(errno));
  struct stat status;
  const bool is_file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = static_cast<uint64_t>(is_file ? status.st_size : 0);
  auto file = std::make_unique<PackedFile>();
  if (size >= sizeof(Footer)) file->mapping_ = map(fd, 0, size);
  ::close(fd);
  if (file->mapping_ == nullptr) return refuse("no such file as is kept here");

  const char* start = file->mapping_.get();
  Footer footer;
  std::memcpy(&footer, start + size - sizeof footer, sizeof footer);
  const uint64_t end = size - sizeof footer;
  if (std::memcmp(footer.magic, kMagic, sizeof footer.magic) != 0 || footer.table_at > end ||
      footer.table_words > (end - footer.table_at) / 8 ||
      checksum(start + footer.table_at, end - footer.table_at) != footer.checksum) {
    return refuse("the file is damaged or cut short");
  }
  const char* text = start + footer.table_at + footer.table_words * 8;
  if (std::string_view(text, start + end - text) != identity) {
    return refuse("the checkpoint, or how it is packed, has changed");
  }

  std::vector<uint64_t> table(footer.table_words);
  std::memcpy(table.data(), start + footer.table_at, footer.table_words * 8);
  std::vector<Chunk> chunks;
  // The table is as it was written; that it holds together is checked all the same.
  for (size_t i = 0; i < table.size();) {
    if (table.size() - i < 2) return refuse("the file's table is cut short");
    const uint64_t at = table[i], bytes = table[i + 1];
    i += 2;
    if (at % kAlignment != 0 || at > footer.table_at || bytes > footer.table_at - at ||
        num_chunks(bytes) > table.size() - i) {
      return refuse("the file's table points elsewhere");
    }
    file->parts_.emplace_back(start + at, bytes);
    for (uint64_t first = 0; first < bytes; first += kChunk) {
      chunks.push_back({file->parts_.back().subspan(first, std::min(kChunk, bytes - first)), table[i++]});
    }
  }
  if (!are_whole(chunks, num_threads)) return refuse("the file is damaged");
  return file;
}

void PackedFileWriter::write(const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = pwrite(fd_, from, std::min<size_t>(bytes, 8u << 20), static_cast<off_t>(at_));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw CannotKeep(written < 0 ? std::strerror(errno) : "nothing more is written");
    from += written;
    at_ += written;
    bytes -= written;
  }
}

std::shared_ptr<const char> PackedFileWriter::add(std::span<const char> bytes) {
  const uint64_t first = at_ = (at_ + kAlignment - 1) / kAlignment * kAlignment;
  table_.push_back(first);
  table_.push_back(bytes.size());
  for (size_t i = 0; i < bytes.size(); i += kChunk) {
    const auto chunk = bytes.subspan(i, std::min<size_t>(kChunk, bytes.size() - i));
    table_.push_back(checksum(chunk.data(), chunk.size()));
    write(chunk.data(), chunk.size());
  }
  auto mapped = map(fd_, first, bytes.size());
  if (mapped == nullptr) throw CannotKeep(std::strerror(errno));
  return mapped;
}

void PackedFileWriter::finish(const std::string& identity) {
  at_ = (at_ + 7) / 8 * 8;
  std::string tail(table_.size() * 8, '\0');
  std::memcpy(tail.data(), table_.data(), tail.size());
  tail += identity;
  Footer footer = {at_, table_.size(), checksum(tail.data(), tail.size()), {}};
  std::memcpy(footer.magic, kMagic, sizeof footer.magic);
  tail.append(reinterpret_cast<const char*>(&footer), sizeof footer);
  write(tail.data(), tail.size());
}

}  // namespace tessera
