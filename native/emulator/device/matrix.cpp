#include "device/matrix.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

#include "device/access.h"
#include "device/warp.h"

namespace cuemu {

namespace {

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

/** Lanes deposit where their fragments are; the last to come computes for all. */
struct Operands {
  void* d;
  const uint32_t* a;
  const uint32_t* b;
};

Operands operands_of(const LaneValues& values, int lane) {
  Operands operands;
  std::memcpy(&operands, values[lane], sizeof operands);
  return operands;
}

float bf16_at(uint32_t pair, int half) {
  const uint32_t bits = half == 0 ? pair << 16 : pair & 0xFFFF0000u;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float f16_at(uint32_t pair, int half) {
  __half_raw raw;
  raw.x = static_cast<uint16_t>(half == 0 ? pair : pair >> 16);
  return __half2float(__half(raw));
}

/** Row and column, in the 16 x 8 result, of value i of a lane. */
constexpr int row_of(int lane, int i) { return lane / 4 + i / 2 * 8; }
constexpr int col_of(int lane, int i) { return lane % 4 * 2 + i % 2; }

template <float (*at)(uint32_t, int)>
__attribute__((no_sanitize("address", "thread"))) void multiply_floats(LaneValues& values) {
  float a[16][16], b[16][8], d[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const Operands own = operands_of(values, lane);
    for (int i = 0; i < 8; i++) {
      // Register i / 2: rows + 8 in odd ones, columns + 8 from the third on.
      a[lane / 4 + i / 2 % 2 * 8][lane % 4 * 2 + i % 2 + i / 4 * 8] = at(own.a[i / 2], i % 2);
    }
    for (int i = 0; i < 4; i++) b[lane % 4 * 2 + i % 2 + i / 2 * 8][lane / 4] = at(own.b[i / 2], i % 2);
    for (int i = 0; i < 4; i++) d[row_of(lane, i)][col_of(lane, i)] = static_cast<const float*>(own.d)[i];
  }
  for (int row = 0; row < 16; row++) {
    for (int k = 0; k < 16; k++) {
      for (int col = 0; col < 8; col++) d[row][col] += a[row][k] * b[k][col];
    }
  }
  for (int lane = 0; lane < 32; lane++) {
    const Operands own = operands_of(values, lane);
    for (int i = 0; i < 4; i++) static_cast<float*>(own.d)[i] = d[row_of(lane, i)][col_of(lane, i)];
  }
}

int8_t s8_at(uint32_t four, int i) { return static_cast<int8_t>(four >> (8 * i)); }

__attribute__((no_sanitize("address", "thread"))) void multiply_bytes(LaneValues& values) {
  int a[16][32], b[32][8], d[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const Operands own = operands_of(values, lane);
    for (int i = 0; i < 16; i++) {
      a[lane / 4 + i / 4 % 2 * 8][lane % 4 * 4 + i % 4 + i / 8 * 16] = s8_at(own.a[i / 4], i % 4);
    }
    for (int i = 0; i < 8; i++) b[lane % 4 * 4 + i % 4 + i / 4 * 16][lane / 4] = s8_at(own.b[i / 4], i % 4);
    for (int i = 0; i < 4; i++) d[row_of(lane, i)][col_of(lane, i)] = static_cast<const int32_t*>(own.d)[i];
  }
  for (int row = 0; row < 16; row++) {
    for (int k = 0; k < 32; k++) {
      for (int col = 0; col < 8; col++) d[row][col] += a[row][k] * b[k][col];
    }
  }
  for (int lane = 0; lane < 32; lane++) {
    const Operands own = operands_of(values, lane);
    for (int i = 0; i < 4; i++) static_cast<int32_t*>(own.d)[i] = d[row_of(lane, i)][col_of(lane, i)];
  }
}

}  // namespace

void load_matrix(uint32_t* fragments, int count, const void* row, bool transposed, Site site) {
  // Lanes beyond the addresses of the last matrix give one that is not used.
  const bool is_used = lane() < count * 8;
  uint4 values = {};
  if (is_used) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("ldmatrix: row address not a multiple of 16", site);
    note_read(row, 16, site);
    std::memcpy(&values, row, sizeof values);
  }
  const Collective what = transposed ? Collective::kMatrixLoadTransposed : Collective::kMatrixLoad;
  const LaneValues& rows = collect(kAllLanes, what, &values, sizeof values, site);
  const int own = lane();
  for (int m = 0; m < count; m++) {
    if (!transposed) {
      std::memcpy(&fragments[m], rows[m * 8 + own / 4] + own % 4 * 4, 4);
      continue;
    }
    uint16_t pair[2];
    for (int half = 0; half < 2; half++) std::memcpy(&pair[half], rows[m * 8 + own % 4 * 2 + half] + own / 4 * 2, 2);
    fragments[m] = pair[0] | static_cast<uint32_t>(pair[1]) << 16;
  }
}

void mma_16816(MmaType type, float* d, const uint32_t* a, const uint32_t* b, Site site) {
  const Operands operands = {d, a, b};
  collect(kAllLanes, Collective::kMma, &operands, sizeof operands, site,
          type == MmaType::kF16 ? multiply_floats<f16_at> : multiply_floats<bf16_at>);
}

void mma_16832(int32_t* d, const uint32_t* a, const uint32_t* b, Site site) {
  const Operands operands = {d, a, b};
  collect(kAllLanes, Collective::kMma, &operands, sizeof operands, site, multiply_bytes);
}

}  // namespace cuemu
