/**
 * Owns the folder with packed weights: which file belongs to a checkpoint, who writes it, what goes when it is full.
 * Anything amiss, from a full disk to a damaged file, costs time at most: weights are then packed as if there were none.
 */
#pragma once

#include <memory>
#include <string>

#include "model/packed_file.h"
#include "model/safetensors.h"
#include "tessera/engine.h"

namespace tessera {

/** What decides how packed weights look, in text; equal texts, equal bytes. */
std::string packed_identity(const Checkpoint& checkpoint, const std::string& dtype, const std::string& isa,
                            const std::string& matrices);

/** A file that is being written, under another name until it is whole. Removed unless it was finished. */
class KeptFile {
 public:
  KeptFile(int fd, std::string part_path, std::string path)
      : fd_(fd), part_path_(std::move(part_path)), path_(std::move(path)), writer_(fd) {}
  ~KeptFile();
  KeptFile(const KeptFile&) = delete;
  KeptFile& operator=(const KeptFile&) = delete;

  /** @throws CannotKeep */
  std::shared_ptr<const char> add(std::span<const char> bytes) { return writer_.add(bytes); }
  /** @throws CannotKeep */
  void finish(const std::string& identity);

 private:
  int fd_;  // locked: one process writes
  std::string part_path_;
  std::string path_;
  PackedFileWriter writer_;
  bool finished_ = false;
};

/** One checkpoint's place in the cache, for one opening. */
class WeightCache {
 public:
  struct Wanted {
    std::string model_path;
    std::string dtype;
    std::string isa;
    std::string identity;
    uint64_t bytes;  // about as many as will be written
    int num_threads;
  };

  WeightCache(const WeightCacheOptions& options, Wanted wanted);

  /**
   * Finds the weights, or else begins to write them; with neither, `note` says why. Waits for a process that is just
   * writing the same.
   */
  void open();
  const PackedFile* found() const { return found_.get(); }
  /** Null where nothing is to be written. */
  KeptFile* begun() { return begun_.get(); }

  /** All was written. */
  void finish();
  /** What was found is of no use, or what was begun cannot go on. */
  void give_up(const std::string& why);

  /** What came of it, for people: `off`, `read`, `written`, `rebuilt: why`, `unused: why`. */
  const std::string& note() const { return note_; }

 private:
  bool read();
  /** @throws CannotKeep */
  void begin();
  void make_room() const;

  WeightCacheOptions options_;
  Wanted wanted_;
  std::string path_;
  std::string stale_;  // why a file that is there does not count
  std::string note_ = "off";
  std::unique_ptr<PackedFile> found_;
  std::unique_ptr<KeptFile> begun_;
};

}  // namespace tessera
