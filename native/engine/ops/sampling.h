/** Owns how a token is drawn from logits: the definition every device follows. */
#pragma once

#include <span>

#include "ops/ops.h"

namespace tessera {

/** Uniform in [0, 1), 53 bits, from (seed, position) alone. */
double uniform_draw(uint64_t seed, uint64_t position);

/** Sum of exp(scale * (x[i] - max)) over n values, always the same bits for the same values. */
using ExpSum = double (*)(const float* x, size_t n, float max, float scale);

/**
 * Temperature 0: the largest logit, the lowest id on a tie. Otherwise softmax(logits / temperature), cut to the top_k
 * largest, then to the smallest set of the largest whose mass reaches top_p, then one draw by (seed, position). Tokens
 * that weigh less than 2^-40 together are never drawn. The log-probability is that of the uncut distribution at
 * temperature 1. Logits of which one is NaN, or whose largest is infinite, give id -1. May throw std::bad_alloc.
 */
SampledToken sample_token(std::span<const float> logits, const SamplingParams& params, ExpSum exp_sum);

}  // namespace tessera
