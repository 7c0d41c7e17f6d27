#include "libraries/product.h"

#include <cuda_bf16.h>
#include <cuda_fp8.h>

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

float from_fp8(uint8_t bits) { return static_cast<float>(__half(__nv_cvt_fp8_to_halfraw(bits, __NV_E4M3))); }

/** Value `i` of an array. */
float read(const void* at, size_t i, Number type) {
  switch (type) {
    case Number::kBf16: return from_bf16(static_cast<const uint16_t*>(at)[i]);
    case Number::kFloat: return static_cast<const float*>(at)[i];
    case Number::kFp8: return from_fp8(static_cast<const uint8_t*>(at)[i]);
    case Number::kInt8: return static_cast<const int8_t*>(at)[i];
    case Number::kInt32: break;
  }
  return static_cast<float>(static_cast<const int32_t*>(at)[i]);
}

/** Line `i` of op(x) along k as fp32, padded with zeros to whole lanes. */
void read_line(const void* x, size_t ld, bool along_k, size_t i, size_t k, Number type, float* out) {
  for (size_t j = 0; j < k; j++) out[j] = read(x, along_k ? i * ld + j : j * ld + i, type);
}

/** Over lines of our own: what the address sanitizer would say of each value it has said of where they were read from. */
#define CUEMU_OWN_LINES __attribute__((no_sanitize("address"), no_sanitize("undefined")))

CUEMU_OWN_LINES float dot(const float* a, const float* b, size_t padded) {
  float sums[kLanes] = {};
  for (size_t j = 0; j < padded; j += kLanes) {
    for (size_t lane = 0; lane < kLanes; lane++) sums[lane] += a[j + lane] * b[j + lane];
  }
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

/** The same of whole numbers, exact. */
CUEMU_OWN_LINES int32_t dot_whole(const float* a, const float* b, size_t padded) {
  int32_t sum = 0;
  for (size_t j = 0; j < padded; j++) sum += static_cast<int32_t>(a[j]) * static_cast<int32_t>(b[j]);
  return sum;
}

void write(void* at, size_t i, Number type, float value) {
  if (type == Number::kBf16) {
    static_cast<__nv_bfloat16*>(at)[i] = __float2bfloat16(value);
  } else {
    static_cast<float*>(at)[i] = value;
  }
}

}  // namespace

void multiply(const Product& p) {
  const size_t padded = (p.k + kLanes - 1) / kLanes * kLanes;
  std::vector<float> columns(p.n * padded);
  for (size_t n = 0; n < p.n; n++) read_line(p.b, p.b_ld, !p.b_transposed, n, p.k, p.factor, &columns[n * padded]);
  std::vector<float> line(padded);
  for (size_t m = 0; m < p.m; m++) {
    read_line(p.a, p.a_ld, p.a_transposed, m, p.k, p.factor, line.data());
    for (size_t n = 0; n < p.n; n++) {
      const float* column = &columns[n * padded];
      const size_t at = n * p.d_ld + m;
      if (p.out == Number::kInt32) {
        auto* d = static_cast<int32_t*>(p.d);
        const int32_t before = p.beta == 0 ? 0 : static_cast<const int32_t*>(p.c)[n * p.c_ld + m];
        d[at] = static_cast<int32_t>(p.alpha) * dot_whole(line.data(), column, padded) + static_cast<int32_t>(p.beta) * before;
        continue;
      }
      float value = p.alpha * dot(line.data(), column, padded);
      if (p.a_scales != nullptr) value *= p.a_scales[p.scales_lines ? m : 0];
      if (p.b_scales != nullptr) value *= p.b_scales[p.scales_lines ? n : 0];
      // With beta 0 what C holds does not count, were it no number.
      if (p.beta != 0) value += p.beta * read(p.c, n * p.c_ld + m, p.out);
      if (p.bias != nullptr) value += read(p.bias, m, p.bias_type);
      if (p.relu) value = value > 0 ? value : 0;
      if (p.gelu) value = 0.5f * value * (1 + std::tanh(0.7978845608f * (value + 0.044715f * value * value * value)));
      write(p.d, at, p.out, value);
    }
  }
  const size_t bytes = p.out == Number::kBf16 ? 2 : 4;
  for (size_t n = 0; n < p.n; n++) note_host_write(static_cast<char*>(p.d) + n * p.d_ld * bytes, p.m * bytes);
}

}  // namespace cuemu
