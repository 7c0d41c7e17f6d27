/**
 * Owns making weights of few bits in host memory, in the order the kernels of products read them: codes by the CPU
 * device's own arithmetic, so that both devices hold the same.
 */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/ops.h"

namespace tessera::cuda {

/** What `CodedMatrix` points to, in host memory; parts of a joined matrix one after the other. */
struct HostWeights {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<uint8_t> zeros;  // AWQ alone
  size_t group_cols = 64;
};

/** Whether kernels and library take a matrix of this shape in few bits. All published models' have such shapes. */
bool takes_shape(size_t rows, size_t cols, WeightType type);

/**
 * Quantises on all CPUs, or unpacks what AWQ holds. With `one_scale` all weights in FP8 share a scale.
 * @throws Error where a value is not finite, or a scale of AWQ not one
 */
HostWeights quantise_weights(std::span<const HostTensor> parts, WeightType type, bool one_scale);

/** Tensors of other shapes as the numbers they would stand for, each [rows][cols]. @throws Error as above */
std::vector<std::vector<float>> expand_weights(std::span<const HostTensor> parts, WeightType type);

}  // namespace tessera::cuda
