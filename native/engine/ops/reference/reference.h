/** Owns the plain truth of each operation, in fp64 loops over unpacked values, for tests to compare with. */
#pragma once

#include <cstddef>
#include <vector>

namespace tessera::reference {

/** Row-major values with their shape. */
struct Values {
  size_t rows = 0;
  size_t cols = 0;
  std::vector<double> data;

  Values(size_t rows, size_t cols) : rows(rows), cols(cols), data(rows * cols) {}
  double& at(size_t row, size_t col) { return data[row * cols + col]; }
  double at(size_t row, size_t col) const { return data[row * cols + col]; }
};

double gelu(double x);
double silu(double x);

/** x [m][k] times w [n][k] transposed. */
Values product(const Values& x, const Values& w);
Values layer_norm(const Values& x, const std::vector<double>& weight, const std::vector<double>& bias, double eps);
Values rms_norm(const Values& x, const std::vector<double>& weight, double eps);

/**
 * Softmax attention of q [n][heads * dim] over k and v [m][kv_heads * dim]; query row i sees keys 0 .. visible[i] - 1.
 */
Values attention(const Values& q, const Values& k, const Values& v, size_t num_heads, size_t num_kv_heads,
                 const std::vector<size_t>& visible);

/** Rotates each head's pairs (i, i + dim / 2) of row t by positions[t] * theta^(-2i / dim). */
void rotate(Values& x, size_t head_dim, const std::vector<int>& positions, double theta);

}  // namespace tessera::reference
