/** Owns bringing weights of few bits to the device: made in host memory, sent through pinned memory, in one piece there. */
#include <cstring>

#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/quantise_weights.h"
#include "ops/cuda/quantised_matrix.h"
#include "ops/quantise.h"

namespace tessera::cuda {

namespace {

CodedMatrix::Kind kind_of(WeightType type) {
  switch (type) {
    case WeightType::kAwq: return CodedMatrix::Kind::kAwq4;
    case WeightType::kFp8: return CodedMatrix::Kind::kFp8;
    case WeightType::kInt8:
    case WeightType::kInt8Head: return CodedMatrix::Kind::kInt8;
    default: return CodedMatrix::Kind::kTable4;
  }
}

}  // namespace

std::unique_ptr<Matrix> CudaOps::load_quantised(std::span<const HostTensor> parts, Join join, WeightType type) {
  size_t rows = 0;
  for (const HostTensor& part : parts) rows += part.rows;
  const size_t cols = parts[0].cols;
  if (!takes_shape(rows, cols, type)) {
    const std::vector<std::vector<float>> values = expand_weights(parts, type);
    std::vector<HostTensor> tensors;
    for (size_t i = 0; i < parts.size(); i++) {
      tensors.push_back({parts[i].name, values[i].data(), DiskType::kF32, parts[i].rows, cols});
    }
    return load_matrix(tensors, join, WeightType::kBase);
  }
  using Activations = QuantisedMatrix::Activations;
  Activations activations = type == WeightType::kInt8 ? Activations::kInt8 : Activations::kBf16;
  if (type == WeightType::kFp8 && quantised_.fp8() != Fp8Products::kNone) activations = Activations::kFp8;
  const HostWeights weights = quantise_weights(parts, type, quantised_.fp8() == Fp8Products::kOneScale);

  const bool has_values = kind_of(type) == CodedMatrix::Kind::kTable4;
  const std::span<const float> values(has_values ? values4(type) : nullptr, has_values ? 16 : 0);
  const auto aligned = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
  const size_t bytes = aligned(weights.codes.size()) + aligned(weights.scales.size() * sizeof(float)) +
                       aligned(weights.zeros.size()) + values.size_bytes();
  const Buffer memory = device_.allocate_raw(bytes);
  char* next = static_cast<char*>(memory.memory.get());
  const auto send = [&]<class T>(std::span<const T> array) -> const T* {
    if (array.empty()) return nullptr;
    char* at = next;
    device_.upload(at, array.size_bytes(), [&](size_t first, size_t piece, char* out) {
      std::memcpy(out, reinterpret_cast<const char*>(array.data()) + first, piece);
    });
    next += aligned(array.size_bytes());
    return reinterpret_cast<const T*>(at);
  };
  const CodedMatrix coded = {
      .kind = kind_of(type), .n = static_cast<int>(rows), .k = static_cast<int>(cols),
      .codes = send(std::span<const uint8_t>(weights.codes)),
      .scales = send(std::span<const float>(weights.scales)),
      .zeros = send(std::span<const uint8_t>(weights.zeros)),
      .group_cols = static_cast<int>(weights.group_cols),
      .values = send(values),
  };
  auto matrix = std::make_unique<QuantisedMatrix>(memory, coded, activations);
  quantised_.expect(*matrix);
  return matrix;
}

}  // namespace tessera::cuda
