/**
 * Owns the vector type the kernels are written in: the compiler's own vectors, as wide as the instruction set.
 * Included once by each kernels_*.cpp, inside its own namespace, so that no function of one set can be linked into
 * another. Expects TESSERA_VEC_BYTES.
 */

constexpr int kWidth = TESSERA_VEC_BYTES / 4;
typedef float Vec __attribute__((vector_size(TESSERA_VEC_BYTES)));
typedef float VecUnaligned __attribute__((vector_size(TESSERA_VEC_BYTES), aligned(4), may_alias));
typedef int32_t VecInt __attribute__((vector_size(TESSERA_VEC_BYTES)));
typedef int32_t VecIntUnaligned __attribute__((vector_size(TESSERA_VEC_BYTES), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
inline VecInt load_int(const void* p) { return *static_cast<const VecIntUnaligned*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }
inline Vec splat(float x) { return x - Vec{}; }
inline VecInt splat_int(int32_t x) { return x - VecInt{}; }

/** The first n floats, zero after them. */
inline Vec load_first(const float* p, size_t n) {
  Vec v = {};
  __builtin_memcpy(&v, p, n * 4);
  return v;
}
inline void store_first(float* p, Vec v, size_t n) { __builtin_memcpy(p, &v, n * 4); }

/** The first n lanes, zero after them. */
inline Vec keep_first(Vec v, size_t n) {
  if (n == kWidth) return v;
  Vec kept = {};
  __builtin_memcpy(&kept, &v, n * 4);
  return kept;
}

/** Sum of the lanes, always in the same order. */
inline float sum_lanes(Vec v) {
  float lanes[kWidth];
  __builtin_memcpy(lanes, &v, sizeof v);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

/** Calls f(first index, count <= kWidth) over [0, n). */
template <class F>
inline void for_vectors(size_t n, F&& f) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) f(i, static_cast<size_t>(kWidth));
  if (i < n) f(i, n - i);
}

inline Vec load_n(const float* p, size_t n) { return n == kWidth ? load(p) : load_first(p, n); }
inline void store_n(float* p, Vec v, size_t n) {
  if (n == kWidth) {
    store(p, v);
  } else {
    store_first(p, v, n);
  }
}

/** bf16 bits of each lane, rounded to nearest even, in the low half; a NaN stays one. */
inline VecInt round_to_bf16(Vec x) {
  const VecInt bits = (VecInt)x;
  const VecInt top = (bits >> 16) & splat_int(0xffff);
  const VecInt rounded = ((bits + splat_int(0x7fff) + (top & splat_int(1))) >> 16) & splat_int(0xffff);
  return x == x ? rounded : top | splat_int(0x40);
}

/** e^r for |r| <= ln 2 / 2. */
inline Vec exp_near_zero(Vec r) {
  Vec p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  return p * (r * r) + (r + splat(1.0f));
}

/** x - n ln 2, with ln 2 in two parts: the first has so few bits that n times it is exact. */
inline Vec without_powers(Vec x, Vec n) { return (x - n * splat(0.693359375f)) - n * splat(-2.12194440e-4f); }

/** e^x, within 2 ulp; exactly 0 far below -87.3 and for -infinity, infinity far above 88.4, NaN for NaN. */
inline Vec exp(Vec x) {
  const Vec log2_e = splat(1.44269504088896341f);
#if TESSERA_VEC_BYTES == 64
  // e^-180 is below the smallest number and e^180 above the largest. Where x is NaN, min and max return it.
  const __m512 bounded = _mm512_min_ps(_mm512_set1_ps(180.0f), _mm512_max_ps(_mm512_set1_ps(-180.0f), (__m512)x));
  const Vec n = (Vec)_mm512_roundscale_ps((__m512)((Vec)bounded * log2_e), _MM_FROUND_TO_NEAREST_INT);
  return (Vec)_mm512_scalef_ps((__m512)exp_near_zero(without_powers((Vec)bounded, n)), (__m512)n);
#else
  const Vec low = splat(-87.33654f);
  const Vec bounded = x < low ? low : (x > splat(88.4f) ? splat(88.4f) : x);
  // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
  const Vec magic = splat(12582912.0f);
  const Vec shifted = bounded * log2_e + magic;
  const Vec p = exp_near_zero(without_powers(bounded, shifted - magic));
  const VecInt exponent = ((VecInt)shifted - (VecInt)magic + splat_int(127)) << 23;
  return x < low ? Vec{} : p * (Vec)exponent;
#endif
}

/**
 * 2^x, within 4 ulp and x itself at most about 0: what softmax asks for many times. Exactly 0 far below -126 and for
 * -infinity, NaN for NaN.
 */
inline Vec exp2_of_negative(Vec x) {
#if TESSERA_VEC_BYTES == 64
  const Vec bounded = (Vec)_mm512_max_ps(_mm512_set1_ps(-256.0f), (__m512)x);
  const Vec n = (Vec)_mm512_roundscale_ps((__m512)bounded, _MM_FROUND_TO_NEAREST_INT);
#else
  const Vec low = splat(-126.0f);
  const Vec bounded = x < low ? low : x;
  const Vec magic = splat(12582912.0f);
  const Vec shifted = bounded + magic;
  const Vec n = shifted - magic;
#endif
  const Vec f = bounded - n;
  Vec p = splat(1.327647245e-03f);
  p = p * f + splat(9.675540961e-03f);
  p = p * f + splat(5.550713092e-02f);
  p = p * f + splat(2.402212024e-01f);
  p = p * f + splat(6.931469440e-01f);
  p = p * f + splat(1.0f);
#if TESSERA_VEC_BYTES == 64
  return (Vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  return x < low ? Vec{} : p * (Vec)(((VecInt)shifted - (VecInt)magic + splat_int(127)) << 23);
#endif
}

/** erf(x) as x P(x^2) / Q(x^2) on [-4, 4], absolute error below 3e-7. */
inline Vec erf(Vec x) {
  x = x > splat(4.0f) ? splat(4.0f) : (x < splat(-4.0f) ? splat(-4.0f) : x);
  const Vec x2 = x * x;
  Vec p = splat(-2.72614225801306e-10f);
  p = p * x2 + splat(2.77068142495902e-08f);
  p = p * x2 + splat(-2.10102402082508e-06f);
  p = p * x2 + splat(-5.69250639462346e-05f);
  p = p * x2 + splat(-7.34990630326855e-04f);
  p = p * x2 + splat(-2.95459980854025e-03f);
  p = p * x2 + splat(-1.60960333262415e-02f);
  Vec q = splat(-1.45660718464996e-05f);
  q = q * x2 + splat(-2.13374055278905e-04f);
  q = q * x2 + splat(-1.68282697438203e-03f);
  q = q * x2 + splat(-7.37332916720468e-03f);
  q = q * x2 + splat(-1.42647390514189e-02f);
  return x * p / q;
}

inline Vec gelu(Vec x) { return splat(0.5f) * x * (splat(1.0f) + erf(x * splat(0.70710678118654752f))); }
inline Vec silu(Vec x) { return x / (splat(1.0f) + exp(-x)); }
