/** Owns timing single products of bf16 weights on request. */
#pragma once

namespace tessera::bench {

/**
 * For each line "m n k copies" of standard input: seconds of y = x W^T over each of `copies` weights [n][k], x [m][k], in
 * turn, divided by their number; rounding and packing of x from fp32 included.
 */
int print_gemm(int num_threads);

}  // namespace tessera::bench
