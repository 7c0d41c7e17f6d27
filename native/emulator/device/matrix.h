/** Owns the matrix instructions: ldmatrix and mma.sync, by the fragment layouts of the PTX manual. */
#pragma once

#include <cstdint>

#include "device/report.h"

namespace cuemu {

/**
 * ldmatrix.sync.aligned.m8n8.x`count`.shared.b16: lane i gives the address of row i % 8 of matrix i / 8; each lane gets
 * two neighbouring values of each matrix. `count` is 1, 2 or 4.
 */
void load_matrix(uint32_t* fragments, int count, const void* row, bool transposed, Site site);

enum class MmaType { kBf16, kF16, kS8 };

/**
 * mma.sync.aligned.m16n8k16.row.col, bf16 or f16 in, fp32 in `d`: d += a b. Sums run over k in order, in fp32, which is
 * one of the orders the device may take.
 */
void mma_16816(MmaType type, float* d, const uint32_t* a, const uint32_t* b, Site site);
/** mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32: exact. */
void mma_16832(int32_t* d, const uint32_t* a, const uint32_t* b, Site site);

}  // namespace cuemu
