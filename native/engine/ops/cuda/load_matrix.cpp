/** Owns the way of weights from a mapped checkpoint to the device: through pinned memory, converted to bf16 on the way. */
#include <algorithm>
#include <cstring>

#include "ops/cpu/convert.h"
#include "ops/cpu/half.h"
#include "ops/cuda/cuda_error.h"
#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/device_matrix.h"
#include "ops/cuda/read_ahead.h"

namespace tessera::cuda {

namespace {

constexpr size_t kBf16Bytes = 2;

/** `count` values of the tensor from element `first` on, which lie side by side. */
void read_run(const HostTensor& part, size_t first, size_t count, char* target) {
  if (part.type == DiskType::kBf16) {
    std::memcpy(target, static_cast<const char*>(part.data) + first * kBf16Bytes, count * kBf16Bytes);
    return;
  }
  constexpr size_t kRun = 4096;
  float values[kRun];
  for (size_t at = 0; at < count; at += kRun) {
    const size_t run = std::min(kRun, count - at);
    cpu::to_floats(part.data, part.type, first + at, run, values);
    cpu::from_floats(values, run, DiskType::kBf16, target + at * kBf16Bytes);
  }
}

/** Bytes [first, first + count) of the part as bf16. */
void read_bf16(const HostTensor& part, size_t first, size_t count, char* target) {
  const size_t end = (first + count) / kBf16Bytes;
  const size_t longest = part.row_stride() == part.cols ? part.rows * part.cols : part.cols;
  for (size_t at = first / kBf16Bytes, run; at < end; at += run, target += run * kBf16Bytes) {
    run = std::min(longest - at % longest, end - at);
    read_run(part, at / longest * part.row_stride() + at % longest, run, target);
  }
}

}  // namespace

std::unique_ptr<Matrix> CudaOps::load_matrix(std::span<const HostTensor> parts, Join join, WeightType type) {
  if (type != WeightType::kBase) return load_quantised(parts, join, type);
  size_t rows = 0;
  for (const HostTensor& part : parts) rows += part.rows;
  const size_t cols = parts[0].cols;
  auto matrix = std::make_unique<DeviceMatrix>(device_.allocate_raw(rows * cols * kBf16Bytes), rows, cols);
  auto* target = reinterpret_cast<char*>(const_cast<__nv_bfloat16*>(matrix->data()));
  for (const HostTensor& part : parts) {
    const size_t bytes = part.rows * cols * kBf16Bytes;
    device_.upload(target, bytes, [&](size_t first, size_t count, char* out) {
      read_ahead(part, (first + count) / kBf16Bytes, Device::kPieceBytes / kBf16Bytes);
      read_bf16(part, first, count, out);
    });
    target += bytes;
  }
  return matrix;
}

Buffer CudaOps::upload(const void* host, size_t bytes) {
  Buffer buffer = device_.allocate_raw(bytes + bytes / 2);
  const size_t count = bytes / sizeof(float);
  device_.upload(buffer.memory.get(), bytes, [&](size_t first, size_t piece, char* out) {
    std::memcpy(out, static_cast<const char*>(host) + first, piece);
  });
  device_.upload(static_cast<char*>(buffer.memory.get()) + bytes, bytes / 2, [&](size_t first, size_t piece, char* out) {
    const HostTensor values = {"", host, DiskType::kF32, 1, count};
    read_bf16(values, first, piece, out);
  });
  return buffer;
}

}  // namespace tessera::cuda
