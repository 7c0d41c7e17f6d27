/**
 * Owns AWQ's 4-bit weights on their way to bf16 with AVX-512 (BW). Included by kernels_*.cpp inside its own namespace, after
 * tiles.h. The 16 bf16 values of four rows fill two vectors, a table in which `vpermi2w` looks up 32 weights at once:
 * 4 pairs of columns x 4 rows. Four such vectors, transposed in units of 128 bits, are 4 pairs of columns x 16 rows, as
 * the products want them. Limit: shuffles, about 4 cycles for 32 weights, which is 15 GB/s of codes a core.
 * Expects of the set: bf16_words(low, high)  32 fp32 to bf16 words.
 */

/** What a group's rows' codes stand for: two rows a vector, 16 words each. */
inline void row_tables4(const float* header, __m512i tables[16]) {
  const __m512 codes = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const auto row = [&](int i) {
    // The product is exact in fp32; the published weight is it in fp16.
    const __m512 exact = _mm512_fmadd_ps(codes, _mm512_set1_ps(header[i]), _mm512_set1_ps(header[kPanelWidth + i]));
    return _mm512_cvtph_ps(_mm512_cvtps_ph(exact, _MM_FROUND_TO_NEAREST_INT));
  };
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) tables[i] = bf16_words(row(2 * i), row(2 * i + 1));
}

/** A line of codes, 16 rows x 8 columns, to its 4 pairs of columns; `tables` are those of the 16 rows. */
inline void look_up4(const char* line, const __m512i tables[8], __m512i pairs[4]) {
  const __m512i rows = _mm512_broadcast_i32x4(_mm_setr_epi16(0, 0, 16, 16, 32, 32, 48, 48));
  const __m512i low = _mm512_set1_epi16(15);
  const __m512i codes = _mm512_loadu_si512(line);
  __m512i v[4];
#pragma GCC unroll 4
  for (int n = 0; n < 4; n++) {
    const __m512i shifted = n == 0 ? codes : _mm512_srli_epi16(codes, 4 * n);
    const __m512i index = _mm512_ternarylogic_epi64(shifted, low, rows, 0xea);  // shifted & low | rows
    v[n] = _mm512_permutex2var_epi16(tables[2 * n], index, tables[2 * n + 1]);
  }
  // The second and fourth come with their halves swapped, so that the first step is no shuffle.
  const __m512i low01 = _mm512_mask_blend_epi32(0xff00, v[0], v[1]);
  const __m512i high01 = _mm512_mask_blend_epi32(0xff00, v[1], v[0]);
  const __m512i low23 = _mm512_mask_blend_epi32(0xff00, v[2], v[3]);
  const __m512i high23 = _mm512_mask_blend_epi32(0xff00, v[3], v[2]);
  pairs[0] = _mm512_shuffle_i32x4(low01, low23, 0x88);
  pairs[1] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
  pairs[2] = _mm512_shuffle_i32x4(high01, high23, 0x22);
  pairs[3] = _mm512_shuffle_i32x4(high01, high23, 0x77);
}

/** `count` groups to bf16 panels. */
void expand4(const void* groups, const Format4& format, size_t count, void* out) {
  const char* codes = static_cast<const char*>(groups);
  char* to = static_cast<char*>(out);
  for (size_t g = 0; g < count; g++) {
    __m512i tables[16];
    row_tables4(reinterpret_cast<const float*>(codes), tables);
    codes += format.header_bytes();
    for (size_t block = 0; block < format.group_cols / kCodeBlock; block++, codes += kCodeBlockBytes) {
      for (int line = 0; line < 8; line++, to += 8 * kPanelWidth * 2) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
          __m512i pairs[4];
          look_up4(codes + half * (kCodeBlockBytes / 2) + line * 64, tables + 8 * half, pairs);
#pragma GCC unroll 4
          for (int p = 0; p < 4; p++) _mm512_storeu_si512(to + (2 * p + half) * 64, pairs[p]);
        }
      }
    }
  }
}
