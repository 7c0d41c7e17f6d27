/**
 * Owns which algorithm each product takes: found by timing once, kept in a file of its GPU, driver and library. Such a file
 * counts whole or not at all; damaged, foreign or missing, it costs the time of finding out again.
 */
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "ops/cuda/blas/cublaslt.h"

namespace tessera::cuda {

class Algorithms {
 public:
  /** What an algorithm is good for beside its product. */
  struct Machine {
    std::string gpu;
    int driver = 0;
    uint64_t library = 0;
  };

  /** Reads what is kept in `folder`. */
  void open(const std::string& folder, const Machine& machine);
  /** The algorithm kept for a product, by its whole description; null where there is none. */
  const lt::Algorithm* find(const std::string& product) const;
  void keep(const std::string& product, const lt::Algorithm& algorithm);
  /** Writes what was kept since, with what others have written meanwhile. Where that fails nothing is kept. */
  void save();

 private:
  using Entries = std::map<std::string, lt::Algorithm>;

  Entries read() const;
  std::string text_of(const Entries& entries) const;

  /** Prompts come in any length: the file stays small. */
  static constexpr size_t kMaxEntries = 8192;
  static constexpr size_t kMaxFileBytes = size_t{4} << 20;

  std::string path_, head_;
  Entries entries_, kept_;
};

}  // namespace tessera::cuda
