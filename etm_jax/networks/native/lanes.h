// Vectors of 8 episodes, or of 16 with AVX-512, and the elementary functions on them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define ETM_INLINE static inline __attribute__((always_inline))

namespace etm {

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;  // episodes of a vector: one AVX2 register, two of NEON
#endif
constexpr int HALVES = 2;  // vectors of a full block
constexpr int BLOCK = LANES * HALVES;

typedef float V __attribute__((vector_size(LANES * 4), aligned(LANES * 4)));
typedef int32_t VI __attribute__((vector_size(LANES * 4), aligned(LANES * 4)));

ETM_INLINE V splat(float x) { return x - V{}; }
ETM_INLINE V load(const float* from) { return *(const V*)from; }
ETM_INLINE void store(float* to, V v) { *(V*)to = v; }

// NaN in x comes out as NaN: min and max return their second operand where a comparison is false.
#if defined __AVX512F__
ETM_INLINE V at_least(V x, V low) { return (V)_mm512_max_ps((__m512)low, (__m512)x); }
ETM_INLINE V at_most(V x, V high) { return (V)_mm512_min_ps((__m512)high, (__m512)x); }
#elif defined __AVX2__
ETM_INLINE V at_least(V x, V low) { return (V)_mm256_max_ps((__m256)low, (__m256)x); }
ETM_INLINE V at_most(V x, V high) { return (V)_mm256_min_ps((__m256)high, (__m256)x); }
#else
ETM_INLINE V at_least(V x, V low) { return low > x ? low : x; }
ETM_INLINE V at_most(V x, V high) { return high < x ? high : x; }
#endif
ETM_INLINE V absolute(V x) { return (V)((VI)x & 0x7fffffff); }

// Cephes' expf: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2].
ETM_INLINE V exponential(V x) {
  x = at_most(at_least(x, splat(-87.3f)), splat(88.f));
  const V magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to a whole number, in the low bits
  const V rounded = x * splat(1.44269504088896341f) + magic, n = rounded - magic;
  const V r = x - n * splat(0.693359375f) - n * splat(-2.12194440e-4f);
  V p = splat(1.9875691500E-4f);
  p = p * r + splat(1.3981999507E-3f);
  p = p * r + splat(8.3334519073E-3f);
  p = p * r + splat(4.1665795894E-2f);
  p = p * r + splat(1.6666665459E-1f);
  p = p * r + splat(5.0000001201E-1f);
  p = p * r + splat(1.f);
  p = p * r + splat(1.f);
#ifdef __AVX512F__
  return (V)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  return p * (V)(((VI)rounded << 23) + 0x3f800000);
#endif
}

// Cephes' logf, of positive normal numbers: of 2^e (1 + m), where m is in [sqrt(1/2) - 1, sqrt(2) - 1].
ETM_INLINE V logarithm(V x) {
#ifdef __AVX512F__
  const V e = (V)_mm512_getexp_ps((__m512)(x * splat(1.41421356237309505f)));  // NaN where x is
  const V m = (V)_mm512_scalef_ps((__m512)x, (__m512)-e) - splat(1.f);
#else
  const VI half = ((VI)x & 0x007fffff) | 0x3f000000, small = (VI)((V)half < splat(0.707106781186547524f));
  const V e = __builtin_convertvector(((VI)x >> 23) - 126 + small, V) + (x - x);  // NaN where x is
  const V m = (V)half + (V)(half & small) - splat(1.f);
#endif
  V p = splat(7.0376836292E-2f);
  p = p * m + splat(-1.1514610310E-1f);
  p = p * m + splat(1.1676998740E-1f);
  p = p * m + splat(-1.2420140846E-1f);
  p = p * m + splat(1.4249322787E-1f);
  p = p * m + splat(-1.6668057665E-1f);
  p = p * m + splat(2.0000714765E-1f);
  p = p * m + splat(-2.4999993993E-1f);
  p = p * m + splat(3.3333331174E-1f);
  p = p * m - splat(0.5f);
  return p * (m * m) + m + e * splat(0.693147180559945309f);
}

// 1 / x, where both are normal numbers.
ETM_INLINE V reciprocal(V x) {
#ifdef __AVX512F__
  const V y = (V)_mm512_rcp14_ps((__m512)x);
  return y + y * (splat(1.f) - x * y);  // Newton's step doubles its 14 bits
#else
  return splat(1.f) / x;
#endif
}

ETM_INLINE V sigmoid(V x) { return reciprocal(splat(1.f) + exponential(-x)); }
ETM_INLINE V hyperbolic(V x) { return splat(1.f) - splat(2.f) * reciprocal(splat(1.f) + exponential(x + x)); }
ETM_INLINE V softplus(V x) {
  return at_least(x, splat(0.f)) + logarithm(splat(1.f) + exponential(-absolute(x)));
}
ETM_INLINE V inverse_root(V x) {
#if defined __AVX512F__
  return splat(1.f) / (V)_mm512_sqrt_ps((__m512)x);
#elif defined __AVX2__
  return splat(1.f) / (V)_mm256_sqrt_ps((__m256)x);
#else
  V y;
  for (int i = 0; i < LANES; i++) y[i] = 1.f / std::sqrt(x[i]);
  return y;
#endif
}

// Turn a square of floats: what was lane j of row i becomes lane i of row j.
ETM_INLINE void transpose(V (&row)[LANES]) {
#if defined __AVX512F__
  __m512 a[LANES], b[LANES];
  for (int i = 0; i < LANES; i += 2) {  // pairs, then fours of each 128 bits
    a[i] = _mm512_unpacklo_ps((__m512)row[i], (__m512)row[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps((__m512)row[i], (__m512)row[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4)
    for (int j = 0; j < 2; j++) {
      b[i + 2 * j] = (__m512)_mm512_unpacklo_pd((__m512d)a[i + j], (__m512d)a[i + 2 + j]);
      b[i + 2 * j + 1] = (__m512)_mm512_unpackhi_pd((__m512d)a[i + j], (__m512d)a[i + 2 + j]);
    }
  for (int j = 0; j < 4; j++) {  // then the square of 128 bits each
    const __m512 even = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88), odd = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd);
    const __m512 even2 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
    const __m512 odd2 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
    row[j] = (V)_mm512_shuffle_f32x4(even, even2, 0x88), row[8 + j] = (V)_mm512_shuffle_f32x4(even, even2, 0xdd);
    row[4 + j] = (V)_mm512_shuffle_f32x4(odd, odd2, 0x88), row[12 + j] = (V)_mm512_shuffle_f32x4(odd, odd2, 0xdd);
  }
#elif defined __AVX2__
  __m256 a[LANES], b[LANES];
  for (int i = 0; i < LANES; i += 2) {  // pairs, then fours of each 128 bits
    a[i] = _mm256_unpacklo_ps((__m256)row[i], (__m256)row[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps((__m256)row[i], (__m256)row[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4)
    for (int j = 0; j < 2; j++) {
      b[i + 2 * j] = (__m256)_mm256_unpacklo_pd((__m256d)a[i + j], (__m256d)a[i + 2 + j]);
      b[i + 2 * j + 1] = (__m256)_mm256_unpackhi_pd((__m256d)a[i + j], (__m256d)a[i + 2 + j]);
    }
  for (int j = 0; j < 4; j++) {  // then the square of 128 bits each
    row[j] = (V)_mm256_permute2f128_ps(b[j], b[4 + j], 0x20);
    row[4 + j] = (V)_mm256_permute2f128_ps(b[j], b[4 + j], 0x31);
  }
#else
  for (int i = 0; i < LANES; i++)
    for (int j = 0; j < i; j++) {
      const float x = row[i][j];
      row[i][j] = row[j][i], row[j][i] = x;
    }
#endif
}

// The first `count` lanes, added to an array; all of them where count is more.
ETM_INLINE void add_to(float* to, V v, int count) {
  typedef float Unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
  if (count >= LANES) *(Unaligned*)to += v;
  else
    for (int i = 0; i < count; i++) to[i] += v[i];
}

ETM_INLINE int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace etm
