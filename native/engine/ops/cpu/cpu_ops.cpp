/** Owns the CPU's memory and its row-by-row operations; products are in linear.cpp, attention in attention.cpp. */
#include "ops/cpu/cpu_ops.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/packed_matrix.h"
#include "ops/cpu/paged_kv.h"
#include "ops/sampling.h"

namespace tessera::cpu {

CpuOps::CpuOps(Dtype dtype, int num_threads, const Kernels& kernels)
    : dtype_(dtype), kernels_(kernels), pool_(num_threads), scratch_(pool_.num_threads()) {}

Buffer CpuOps::allocate(size_t bytes) {
  auto memory = std::make_shared<AlignedMemory>(bytes);
  return {std::shared_ptr<void>(memory, memory->data()), bytes};
}

Buffer CpuOps::upload(const void* host, size_t bytes) {
  Buffer buffer = allocate(bytes);
  std::memcpy(buffer.memory.get(), host, bytes);
  return buffer;
}

void CpuOps::download(void* host, const float* device, size_t count) { std::memcpy(host, device, count * 4); }

void CpuOps::copy(const float* from, size_t count, float* to) { std::memcpy(to, from, count * 4); }

void CpuOps::receive(const Rows& x, Ops&, const Rows& y) {
  for (size_t row = 0; row < x.rows; row++) copy(x.data + row * x.stride, x.cols, y.data + row * y.stride);
}

void CpuOps::reserve_scratch(size_t bytes) {
  for (auto& memory : scratch_) memory.reserve(bytes);
}

void CpuOps::patchify(std::span<const uint8_t> pixels, int tile_size, int patch_size, const float mean[3],
                      const float std[3], const Rows& patches) {
  float normal[3][256];
  for (int c = 0; c < 3; c++) {
    for (int value = 0; value < 256; value++) normal[c][value] = (value / 255.0f - mean[c]) / std[c];
  }
  const size_t grid = tile_size / patch_size;
  const size_t area = static_cast<size_t>(patch_size) * patch_size;
  parallel(patches.rows, kElementCost * patches.rows * patches.cols, [&](size_t row, int) {
    const size_t tile = row / (grid * grid);
    const size_t patch_y = row / grid % grid * patch_size;
    const size_t patch_x = row % grid * patch_size;
    float* out = patches.data + row * patches.stride;
    for (int y = 0; y < patch_size; y++) {
      const uint8_t* line = pixels.data() + ((tile * tile_size + patch_y + y) * tile_size + patch_x) * 3;
      for (int x = 0; x < patch_size; x++) {
        for (int c = 0; c < 3; c++) out[c * area + y * patch_size + x] = normal[c][line[3 * x + c]];
      }
    }
  });
}

void CpuOps::add_positions(const Rows& patches, const float* class_embedding, const float* positions,
                           size_t patches_per_tile, const Rows& x) {
  const size_t tokens = patches_per_tile + 1;
  parallel(x.rows, kElementCost * x.rows * x.cols, [&](size_t row, int) {
    const size_t token = row % tokens;
    const float* from =
        token == 0 ? class_embedding : patches.data + (row / tokens * patches_per_tile + token - 1) * patches.stride;
    const float* position = positions + token * x.cols;
    float* out = x.data + row * x.stride;
    for (size_t i = 0; i < x.cols; i++) out[i] = from[i] + position[i];
  });
}

void CpuOps::pixel_shuffle(const Rows& x, const PixelShuffle& shuffle, const Rows& y) {
  const size_t grid = shuffle.grid, factor = shuffle.factor, out_grid = grid / factor;
  const size_t channels = x.cols;
  parallel(y.rows, kElementCost * y.rows * y.cols, [&](size_t row, int) {
    const size_t tile = row / (out_grid * out_grid);
    const size_t major = row / out_grid % out_grid;
    const size_t minor = row % out_grid;
    const size_t square_y = (shuffle.transposed ? minor : major) * factor;
    const size_t square_x = (shuffle.transposed ? major : minor) * factor;
    float* out = y.data + row * y.stride;
    for (size_t dy = 0; dy < factor; dy++) {
      for (size_t dx = 0; dx < factor; dx++) {
        const size_t token = 1 + (square_y + dy) * grid + square_x + dx;
        const float* from = x.data + (tile * (grid * grid + 1) + token) * x.stride;
        out = std::copy(from, from + channels, out);
      }
    }
  });
}

void CpuOps::shuffle_norm(const Rows& x, const PixelShuffle& shuffle, const float* weight, const float* bias,
                          float eps, const Rows& y) {
  pixel_shuffle(x, shuffle, y);
  layer_norm(y, weight, bias, eps, y);
}

void CpuOps::embed(const EmbeddingTable& table, const StepLayout& step, const float* tiles, const Rows& y) {
  const auto& matrix = static_cast<const PackedMatrix&>(table.rows);
  // A packed row is spread over as many cache lines as it has pairs.
  parallel(y.rows, 2 * kElementCost * y.rows * y.cols, [&](size_t t, int) {
    float* out = y.data + t * y.stride;
    const int32_t tile_row = step.embedding_rows[t];
    if (tile_row < 0 ? !table.has(step.token_ids[t]) : tiles == nullptr) {
      std::fill(out, out + y.cols, 0.0f);
    } else if (tile_row < 0) {
      matrix.unpack_row(step.token_ids[t] - table.first_id, out);
    } else {
      const float* from = tiles + static_cast<size_t>(tile_row) * y.cols;
      std::copy(from, from + y.cols, out);
    }
  });
}

std::unique_ptr<KvCache> CpuOps::make_kv_cache(const KvShape& shape, uint64_t budget_bytes, int min_blocks) {
  return std::make_unique<PagedKv>(shape, attention_kernel(), budget_bytes, min_blocks);
}

void CpuOps::gather_rows(const Rows& x, const StepLayout& step, const Rows& y) {
  for (size_t i = 0; i < step.wanted.size(); i++) {
    const float* from = x.data + step.wanted[i] * x.stride;
    std::copy(from, from + x.cols, y.data + i * y.stride);
  }
}

void CpuOps::sample(const Rows& logits, std::span<const SamplingParams> params, std::span<SampledToken> out) {
  parallel(logits.rows, 2 * kElementCost * logits.rows * logits.cols, [&](size_t row, int) {
    out[row] = sample_token({logits.data + row * logits.stride, logits.cols}, params[row], kernels_.exp_sum,
                            kernels_.largest);
  });
}

}  // namespace tessera::cpu
