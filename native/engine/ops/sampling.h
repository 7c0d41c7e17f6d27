/** Owns how a token is drawn from logits: the definition every device follows. */
#pragma once

#include <span>

#include "ops/ops.h"

namespace tessera {

/** Uniform in [0, 1), 53 bits, from (seed, position) alone. */
double uniform_draw(uint64_t seed, uint64_t position);

/** Sum of exp(scale * (x[i] - max)) over n values, always the same bits for the same values. */
using ExpSum = double (*)(const float* x, size_t n, float max, float scale);

/** The largest of n values, minus infinity for none; NaN where one is. */
using Largest = float (*)(const float* x, size_t n);

/** `Largest`, a value at a time. */
float plain_largest(const float* x, size_t n);

/**
 * A token and its log-probability, which with those of `top` is of the plain distribution: temperature 1, nothing else.
 *
 * The token is drawn from logits changed in this order, as vLLM and transformers do it:
 * 1. biases are added;
 * 2. logits of seen tokens above 0 are divided by the repetition penalty, others multiplied (CTRL, arXiv:1909.05858);
 * 3. from those of tokens in the answer go presence_penalty + count * frequency_penalty, as OpenAI defines them.
 * Temperature 0 takes the largest, the lowest id on a tie. Otherwise softmax(logits / temperature) is cut to the top_k
 * largest, then to the smallest set of the largest whose mass reaches top_p, then to tokens of at least min_p times the
 * largest mass, and one draw is made by (seed, position). Tokens that weigh less than 2^-40 together are never drawn.
 *
 * Logits of which one is NaN, or whose largest is infinite, give id -1; so do changed ones that leave no token. `logits`
 * are changed on the way and back when this returns. May throw std::bad_alloc.
 */
SampledToken sample_token(std::span<float> logits, const SamplingParams& params, ExpSum exp_sum,
                          Largest largest = plain_largest);

}  // namespace tessera
