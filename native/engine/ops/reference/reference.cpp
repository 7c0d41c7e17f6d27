#include "ops/reference/reference.h"

#include <algorithm>
#include <cmath>

namespace tessera::reference {

double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double silu(double x) { return x / (1 + std::exp(-x)); }

Values product(const Values& x, const Values& w) {
  Values y(x.rows, w.rows);
  for (size_t m = 0; m < x.rows; m++) {
    for (size_t n = 0; n < w.rows; n++) {
      for (size_t k = 0; k < x.cols; k++) y.at(m, n) += x.at(m, k) * w.at(n, k);
    }
  }
  return y;
}

Values layer_norm(const Values& x, const std::vector<double>& weight, const std::vector<double>& bias, double eps) {
  Values y(x.rows, x.cols);
  for (size_t r = 0; r < x.rows; r++) {
    double mean = 0;
    double variance = 0;
    for (size_t c = 0; c < x.cols; c++) mean += x.at(r, c) / x.cols;
    for (size_t c = 0; c < x.cols; c++) variance += (x.at(r, c) - mean) * (x.at(r, c) - mean) / x.cols;
    for (size_t c = 0; c < x.cols; c++) {
      y.at(r, c) = (x.at(r, c) - mean) / std::sqrt(variance + eps) * weight[c] + bias[c];
    }
  }
  return y;
}

Values rms_norm(const Values& x, const std::vector<double>& weight, double eps) {
  Values y(x.rows, x.cols);
  for (size_t r = 0; r < x.rows; r++) {
    double squares = 0;
    for (size_t c = 0; c < x.cols; c++) squares += x.at(r, c) * x.at(r, c) / x.cols;
    for (size_t c = 0; c < x.cols; c++) y.at(r, c) = x.at(r, c) / std::sqrt(squares + eps) * weight[c];
  }
  return y;
}

Values attention(const Values& q, const Values& k, const Values& v, size_t num_heads, size_t num_kv_heads,
                 const std::vector<size_t>& visible) {
  const size_t dim = q.cols / num_heads;
  Values y(q.rows, q.cols);
  for (size_t row = 0; row < q.rows; row++) {
    for (size_t head = 0; head < num_heads; head++) {
      const size_t kv = head / (num_heads / num_kv_heads) * dim;
      std::vector<double> weights(visible[row]);
      for (size_t key = 0; key < visible[row]; key++) {
        for (size_t d = 0; d < dim; d++) weights[key] += q.at(row, head * dim + d) * k.at(key, kv + d);
        weights[key] /= std::sqrt(static_cast<double>(dim));
      }
      const double max = *std::max_element(weights.begin(), weights.end());
      double total = 0;
      for (double& weight : weights) total += weight = std::exp(weight - max);
      for (size_t key = 0; key < visible[row]; key++) {
        for (size_t d = 0; d < dim; d++) y.at(row, head * dim + d) += weights[key] / total * v.at(key, kv + d);
      }
    }
  }
  return y;
}

void rotate(Values& x, size_t head_dim, const std::vector<int>& positions, double theta) {
  const size_t half = head_dim / 2;
  for (size_t row = 0; row < x.rows; row++) {
    for (size_t head = 0; head < x.cols; head += head_dim) {
      for (size_t i = 0; i < half; i++) {
        const double angle = positions[row] * std::pow(theta, -2.0 * i / head_dim);
        const double a = x.at(row, head + i);
        const double b = x.at(row, head + half + i);
        x.at(row, head + i) = a * std::cos(angle) - b * std::sin(angle);
        x.at(row, head + half + i) = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }
}

}  // namespace tessera::reference
