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

/** e^x, within 2 ulp; 0 below -87.3, infinity above 88.4, NaN for NaN. */
inline Vec exp(Vec x) {
  const Vec low = splat(-87.33654f);
  const Vec clamped = x < low ? low : (x > splat(88.4f) ? splat(88.4f) : x);
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const Vec magic = splat(12582912.0f);
  const Vec shifted = clamped * splat(1.44269504088896341f) + magic;
  const Vec n = shifted - magic;
  const Vec r = (clamped - n * splat(0.693359375f)) - n * splat(-2.12194440e-4f);
  Vec p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  p = p * r * r + r + splat(1.0f);
  const VecInt exponent = ((VecInt)shifted - (VecInt)magic + splat_int(127)) << 23;
  const Vec result = p * (Vec)exponent;
  return x < low ? Vec{} : result;
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
