/** Owns the arithmetic of the library stand-in: one product of matrices by columns, summed in fp32. */
#pragma once

#include <cstddef>

namespace cuemu {

/** d = activation(alpha op(a) op(b) + beta c + bias), op(a) [m][k], op(b) [k][n]; a and b bf16, the rest alike. */
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
  bool out_is_bf16;
  const void* bias;  // [m] or null
  bool relu, gelu;
  float alpha = 1;
  float beta = 0;
};

void multiply(const Product& product);

}  // namespace cuemu
