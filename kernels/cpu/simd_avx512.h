// Sixteen floats with AVX-512 F, BW, DQ and VL.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace galago::kernels::GALAGO_ISA {

inline constexpr int width = 16;
inline constexpr int micro_rows = 12;

struct Vec {
  __m512 v;
};

GALAGO_INLINE Vec set1(float x) {
  return {_mm512_set1_ps(x)};
}
GALAGO_INLINE Vec load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
GALAGO_INLINE void store(float* p, Vec a) {
  _mm512_storeu_ps(p, a.v);
}
GALAGO_INLINE Vec add(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
GALAGO_INLINE Vec sub(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
GALAGO_INLINE Vec mul(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
GALAGO_INLINE Vec div(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}
GALAGO_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
// The masked forms: gcc 12 warns of the plain ones' undefined pass-through operand.
GALAGO_INLINE Vec max(Vec a, Vec b) {
  return {_mm512_maskz_max_ps(0xffff, a.v, b.v)};
}
GALAGO_INLINE Vec min(Vec a, Vec b) {
  return {_mm512_maskz_min_ps(0xffff, a.v, b.v)};
}
GALAGO_INLINE Vec round(Vec a) {
  return {_mm512_maskz_roundscale_ps(0xffff, a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/// 2^n for whole n within the range of normal floats.
GALAGO_INLINE Vec power_of_two(Vec n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_maskz_cvtps_epi32(0xffff, n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, exponent, 23))};
}
/// |a| with the sign of b.
GALAGO_INLINE Vec with_sign(Vec a, Vec b) {
  const __m512 sign = _mm512_set1_ps(-0.0F);
  return {_mm512_or_ps(_mm512_maskz_andnot_ps(0xffff, sign, a.v), _mm512_and_ps(sign, b.v))};
}
GALAGO_INLINE float sum(Vec a) {
  const __m256 low = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xff, _mm512_castps_pd(a.v), 0));
  const __m256 high = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xff, _mm512_castps_pd(a.v), 1));
  const __m256 eight = _mm256_add_ps(low, high);
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

GALAGO_INLINE Vec load_f16(const std::uint16_t* p) {
  return {_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
GALAGO_INLINE void store_f16(std::uint16_t* p, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_maskz_cvtps_ph(0xffff, a.v, _MM_FROUND_TO_NEAREST_INT));
}
GALAGO_INLINE float widen_f16(std::uint16_t bits) {
  return _cvtsh_ss(bits);
}
GALAGO_INLINE std::uint16_t narrow_f16(float value) {
  return static_cast<std::uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
}
GALAGO_INLINE Vec load_bf16(const std::uint16_t* p) {
  const __m512i wide =
      _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, wide, 16))};
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
  to[0] = {_mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, low))};
  to[1] = {_mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, high))};
}
/// The same chunk's quants as indices into a table of 16.
GALAGO_INLINE void look_up_nibbles(const std::uint8_t* p, const float* table, Vec* to) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i mask = _mm_set1_epi8(15);
  const __m512 values = _mm512_loadu_ps(table);
  const __m512i low = _mm512_maskz_cvtepu8_epi32(0xffff, _mm_and_si128(bytes, mask));
  const __m512i high = _mm512_maskz_cvtepu8_epi32(0xffff, _mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
  to[0] = {_mm512_maskz_permutexvar_ps(0xffff, low, values)};
  to[1] = {_mm512_maskz_permutexvar_ps(0xffff, high, values)};
}
/// A chunk of 32 signed bytes.
GALAGO_INLINE void load_bytes(const std::uint8_t* p, Vec* to) {
  for (int i = 0; i < 2; ++i) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * i));
    to[i] = {_mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, bytes))};
  }
}

}  // namespace galago::kernels::GALAGO_ISA
