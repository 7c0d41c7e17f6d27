/** Owns timing whole steps of the 1B's decoder, and where their time goes. */
#pragma once

#include "ops/ops.h"

namespace tessera::bench {

/**
 * Decoding steps of `batch` sequences over `context` tokens each, or, of a `chunk` above 1, prefill of a prompt of
 * `context` tokens in such chunks; random weights, bf16 or of `type` with an int8 head. Prints medians, the share of read bandwidth or of the multiply-add
 * peak measured between runs, and each kind of operation.
 */
int print_step(WeightType type, int num_threads, int batch, int context, int chunk, int runs);

}  // namespace tessera::bench
