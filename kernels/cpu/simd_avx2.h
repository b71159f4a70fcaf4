// Eight floats with AVX2, FMA and F16C.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace galago::kernels::GALAGO_ISA {

inline constexpr int width = 8;
inline constexpr int micro_rows = 6;

struct Vec {
  __m256 v;
};

GALAGO_INLINE Vec set1(float x) {
  return {_mm256_set1_ps(x)};
}
GALAGO_INLINE Vec load(const float* p) {
  return {_mm256_loadu_ps(p)};
}
GALAGO_INLINE void store(float* p, Vec a) {
  _mm256_storeu_ps(p, a.v);
}
GALAGO_INLINE Vec add(Vec a, Vec b) {
  return {_mm256_add_ps(a.v, b.v)};
}
GALAGO_INLINE Vec sub(Vec a, Vec b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
GALAGO_INLINE Vec mul(Vec a, Vec b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
GALAGO_INLINE Vec div(Vec a, Vec b) {
  return {_mm256_div_ps(a.v, b.v)};
}
GALAGO_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
GALAGO_INLINE Vec max(Vec a, Vec b) {
  return {_mm256_max_ps(a.v, b.v)};
}
GALAGO_INLINE Vec min(Vec a, Vec b) {
  return {_mm256_min_ps(a.v, b.v)};
}
GALAGO_INLINE Vec round(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/// 2^n for whole n within the range of normal floats.
GALAGO_INLINE Vec power_of_two(Vec n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23))};
}
/// |a| with the sign of b.
GALAGO_INLINE Vec with_sign(Vec a, Vec b) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  return {_mm256_or_ps(_mm256_andnot_ps(sign, a.v), _mm256_and_ps(sign, b.v))};
}
GALAGO_INLINE float sum(Vec a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

GALAGO_INLINE Vec load_f16(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
GALAGO_INLINE void store_f16(std::uint16_t* p, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
GALAGO_INLINE float widen_f16(std::uint16_t bits) {
  return _cvtsh_ss(bits);
}
GALAGO_INLINE std::uint16_t narrow_f16(float value) {
  return static_cast<std::uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
}
GALAGO_INLINE Vec load_bf16(const std::uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16))};
}
GALAGO_INLINE float widen_bf16(std::uint16_t bits) {
  return _mm_cvtss_f32(
      _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(static_cast<unsigned>(bits) << 16))));
}

/// The 32 quants of a chunk of 4 bits each, byte i holding elements i and 16 + i; `zero` is taken from each.
GALAGO_INLINE void load_nibbles(const std::uint8_t* p, int zero, Vec* to) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i mask = _mm_set1_epi8(15);
  const __m128i zeros = _mm_set1_epi8(static_cast<char>(zero));
  const __m128i low = _mm_sub_epi8(_mm_and_si128(bytes, mask), zeros);
  const __m128i high = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask), zeros);
  to[0] = {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low))};
  to[1] = {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(low, low)))};
  to[2] = {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))};
  to[3] = {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(high, high)))};
}
/// The same chunk's quants as indices into a table of 16.
GALAGO_INLINE void look_up_nibbles(const std::uint8_t* p, const float* table, Vec* to) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i mask = _mm_set1_epi8(15);
  const __m128i low = _mm_and_si128(bytes, mask);
  const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), mask);
  const __m256 first = _mm256_loadu_ps(table);
  const __m256 second = _mm256_loadu_ps(table + 8);
  const __m128i parts[4] = {low, _mm_unpackhi_epi64(low, low), high, _mm_unpackhi_epi64(high, high)};
  for (int i = 0; i < 4; ++i) {
    const __m256i index = _mm256_cvtepu8_epi32(parts[i]);
    const __m256 which = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));  // bit 3 becomes the sign
    to[i] = {_mm256_blendv_ps(_mm256_permutevar8x32_ps(first, index), _mm256_permutevar8x32_ps(second, index),
                              which)};
  }
}
/// A chunk of 32 signed bytes.
GALAGO_INLINE void load_bytes(const std::uint8_t* p, Vec* to) {
  for (int i = 0; i < 4; ++i) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8 * i));
    to[i] = {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))};
  }
}

}  // namespace galago::kernels::GALAGO_ISA
