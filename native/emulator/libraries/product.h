/** Owns the arithmetic of the library stand-in: one product of matrices by columns, summed in fp32, int8 in int32. */
#pragma once

#include <cstddef>

namespace cuemu {

enum class Number { kBf16, kFloat, kFp8, kInt8, kInt32 };

/**
 * d = activation(alpha scales op(a) op(b) + beta c + bias), op(a) [m][k], op(b) [k][n]; c as d. Of int8 there is neither
 * activation nor bias.
 */
struct Product {
  size_t m, n, k;
  const void* a;
  size_t a_ld;
  bool a_transposed;
  const void* b;
  size_t b_ld;
  bool b_transposed;
  const void* c;
  size_t c_ld;
  void* d;
  size_t d_ld;
  Number factor, out;
  const void* bias;  // [m] or null
  Number bias_type;
  bool relu, gelu;
  const float* a_scales = nullptr;  // of FP8: one number, or [m] and [n]
  const float* b_scales = nullptr;
  bool scales_lines = false;
  float alpha = 1;  // of int8 whole numbers
  float beta = 0;
};

void multiply(const Product& product);

}  // namespace cuemu
