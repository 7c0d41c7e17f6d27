/** Owns runs of numbers on their way from a checkpoint into a packed layout: conversion and interleaving. */
#pragma once

#include <array>
#include <cstddef>

#include "ops/cpu/kernels.h"
#include "ops/ops.h"

namespace tessera::cpu {

/** `count` elements from `first` on as fp32; `data` may lie at any address. */
void to_floats(const void* data, DiskType type, size_t first, size_t count, float* out);

/** fp32 to a storage type, rounded to nearest even. */
void from_floats(const float* values, size_t count, DiskType type, void* out);

/** The largest magnitude; infinite where something is no number. */
float largest_magnitude(const float* values, size_t count);

/** Starts of 32 rows; null for one that does not exist and stays as it is. */
using PanelRows = std::array<const char*, kPanelWidth>;

/** Units of 2 or 4 bytes, [32][count] to [count][32]. */
void interleave(const PanelRows& rows, size_t count, size_t unit_bytes, void* out);

}  // namespace tessera::cpu
