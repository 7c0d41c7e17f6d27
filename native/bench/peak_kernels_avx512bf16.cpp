/** Owns the loops that show what AVX-512 with BF16 and VNNI can do: nothing but the instruction, from registers. */
#include <immintrin.h>

#include "../bench/machine.h"

namespace tessera::bench {

namespace {

constexpr int kSums = 12;

// The empty statements keep the compiler from seeing that each turn is the same.
void bf16(long turns) {
  __m512i x = _mm512_set1_epi16(0x3000);
  __m512 sums[kSums] = {};
  for (long i = 0; i < turns; i++) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; s++) asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sums[s]) : "v"(x));
  }
}

void int8(long turns) {
  __m512i x = _mm512_set1_epi8(1);
  __m512i sums[kSums] = {};
  for (long i = 0; i < turns; i++) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; s++) asm volatile("vpdpbusd %1, %1, %0" : "+v"(sums[s]) : "v"(x));
  }
}

inline void take(__m512i& sum, const char* at) { sum = _mm512_or_si512(sum, _mm512_load_si512(at)); }

void keep(const __m512i sums[4]) {
  const __m512i all = _mm512_or_si512(_mm512_or_si512(sums[0], sums[1]), _mm512_or_si512(sums[2], sums[3]));
  asm volatile("" : : "v"(all));
}

void read(const char* from, size_t bytes) {
  __m512i sums[4] = {};
  for (const char* at = from; at < from + bytes; at += 256) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      _mm_prefetch(at + 2048 + i * 64, _MM_HINT_T0);
      take(sums[i], at + i * 64);
    }
  }
  keep(sums);
}

void read_streams(const char* from, size_t bytes) {
  __m512i sums[4] = {};
  const size_t part = bytes / 4;
  for (size_t at = 0; at < part; at += 64) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) take(sums[i], from + i * part + at);
  }
  keep(sums);
}

constexpr PeakLoops kLoops = {bf16, int8, read, read_streams};

}  // namespace

const PeakLoops* avx512_bf16_peaks() { return &kLoops; }

}  // namespace tessera::bench
