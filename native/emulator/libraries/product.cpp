#include "libraries/product.h"

#include <cuda_bf16.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "device/access.h"

namespace cuemu {

namespace {

/** Sums side by side: the order along k is the same for every m and n. */
constexpr size_t kLanes = 16;

float from_bf16(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

/** Line `i` of op(x) along k as fp32, padded with zeros to whole lanes. */
void read_line(const void* x, size_t ld, bool along_k, size_t i, size_t k, float* out) {
  const auto* values = static_cast<const uint16_t*>(x);
  for (size_t j = 0; j < k; j++) out[j] = from_bf16(values[along_k ? i * ld + j : j * ld + i]);
}

float dot(const float* a, const float* b, size_t padded) {
  float sums[kLanes] = {};
  for (size_t j = 0; j < padded; j += kLanes) {
    for (size_t lane = 0; lane < kLanes; lane++) sums[lane] += a[j + lane] * b[j + lane];
  }
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

float read_out(const void* at, size_t i, bool is_bf16) {
  return is_bf16 ? from_bf16(static_cast<const uint16_t*>(at)[i]) : static_cast<const float*>(at)[i];
}

}  // namespace

void multiply(const Product& p) {
  const size_t padded = (p.k + kLanes - 1) / kLanes * kLanes;
  std::vector<float> columns(p.n * padded);
  for (size_t n = 0; n < p.n; n++) read_line(p.b, p.b_ld, !p.b_transposed, n, p.k, &columns[n * padded]);
  std::vector<float> line(padded);
  for (size_t m = 0; m < p.m; m++) {
    read_line(p.a, p.a_ld, p.a_transposed, m, p.k, line.data());
    for (size_t n = 0; n < p.n; n++) {
      float value = p.alpha * dot(line.data(), &columns[n * padded], padded);
      // With beta 0 what C holds does not count, were it no number.
      if (p.beta != 0) value += p.beta * read_out(p.c, n * p.c_ld + m, p.out_is_bf16);
      if (p.bias != nullptr) value += read_out(p.bias, m, p.out_is_bf16);
      if (p.relu) value = value > 0 ? value : 0;
      if (p.gelu) value = 0.5f * value * (1 + std::tanh(0.7978845608f * (value + 0.044715f * value * value * value)));
      const size_t at = n * p.d_ld + m;
      if (p.out_is_bf16) {
        static_cast<__nv_bfloat16*>(p.d)[at] = __float2bfloat16(value);
      } else {
        static_cast<float*>(p.d)[at] = value;
      }
    }
  }
  const size_t bytes = p.out_is_bf16 ? 2 : 4;
  for (size_t n = 0; n < p.n; n++) note_host_write(static_cast<char*>(p.d) + n * p.d_ld * bytes, p.m * bytes);
}

}  // namespace cuemu
