#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/memory_pieces.h"
#include "tests/check.h"

using namespace tessera;

namespace {

bool is_zero(const char* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    if (from[i] != 0) return false;
  }
  return true;
}

}  // namespace

TEST(pieces_of_memory_are_zeroed_aligned_and_apart) {
  MemoryPieces memory;
  const std::vector<size_t> sizes = {1, 63, 64, 100'000, 1u << 20, (1u << 20) + 1, 40u << 20, 40u << 20, 70u << 20, 0, 300'000};
  std::vector<std::shared_ptr<char>> pieces;
  for (size_t bytes : sizes) {
    auto piece = memory.take(bytes);
    CHECK(reinterpret_cast<uintptr_t>(piece.get()) % 64 == 0);
    CHECK(is_zero(piece.get(), bytes));
    std::fill(piece.get(), piece.get() + bytes, static_cast<char>(pieces.size() + 1));
    pieces.push_back(std::move(piece));
  }
  for (size_t i = 0; i < pieces.size(); i++) {
    const char* start = pieces[i].get();
    CHECK(std::all_of(start, start + sizes[i], [&](char byte) { return byte == static_cast<char>(i + 1); }));
  }
}

TEST(a_piece_of_memory_outlives_the_others_and_who_cut_it) {
  auto memory = std::make_unique<MemoryPieces>();
  auto first = memory->take(1u << 20);
  auto second = memory->take(1u << 20);
  std::fill(second.get(), second.get() + (1u << 20), 7);
  first.reset();
  auto third = memory->take(1u << 20);
  CHECK(is_zero(third.get(), 1u << 20));
  memory.reset();
  CHECK(second.get()[0] == 7 && second.get()[(1u << 20) - 1] == 7);
}
