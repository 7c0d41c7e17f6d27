#include "runtime/memory_pieces.h"

#include "runtime/aligned_memory.h"

namespace tessera {

namespace {
constexpr size_t kAlignment = 64;
/** What pieces are cut from. Pages of it that no piece reaches take no memory. */
constexpr size_t kBlockBytes = 64u << 20;
/** Smaller ones do not pay for a huge page. */
constexpr size_t kLeastPiece = 128u << 10;
}  // namespace

struct MemoryPieces::Block {
  AlignedMemory memory;
  size_t used = 0;
};

std::shared_ptr<char> MemoryPieces::take(size_t bytes) {
  const bool is_shared = bytes >= kLeastPiece && bytes <= kBlockBytes;
  auto block = is_shared ? block_.lock() : nullptr;
  if (block == nullptr || bytes > block->memory.bytes() - block->used) {
    block = std::make_shared<Block>();
    block->memory = AlignedMemory(is_shared ? kBlockBytes : bytes);
    if (is_shared) block_ = block;
  }
  char* start = block->memory.as<char>() + block->used;
  block->used += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return {std::move(block), start};
}

}  // namespace tessera
