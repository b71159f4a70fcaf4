// Products of int8 activations with quants, for AVX2 and wider. Products are summed in 16 bits: a quant of 4
// bits times 127 fits 16 times. Quants of 8 bits have dot products only: as two planes of 4 bits each they
// were measured to win nothing over FP32 where x has many rows.
#pragma once

#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {

/// Running sums of a dot product.
struct Dot {
  __m256 v;
};

GALAGO_INLINE Dot zero_dot() {
  return {_mm256_setzero_ps()};
}
GALAGO_INLINE float sum(Dot a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

/// Sums of four products each; their place among the eight is that of the elements in the chunk.
GALAGO_INLINE __m256 products_of(__m256i unsigned_quants, __m256i x) {
  return _mm256_cvtepi32_ps(
      _mm256_madd_epi16(_mm256_maddubs_epi16(unsigned_quants, x), _mm256_set1_epi16(1)));
}

/// A chunk of 32 unsigned quants of 4 bits.
struct NibbleChunk {
  static constexpr std::int64_t bytes = 16;
  GALAGO_INLINE __m256 products(const std::uint8_t* p, const std::int8_t* x) {
    const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m256i quants =
        _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(both, 4), both), _mm256_set1_epi8(15));
    return products_of(quants, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  }
};

/// A chunk of 32 signed quants of 8 bits. |w| <= 128 and |x| <= 127, so two products fit in 16 bits.
struct ByteChunk {
  static constexpr std::int64_t bytes = 32;
  GALAGO_INLINE __m256 products(const std::uint8_t* p, const std::int8_t* x) {
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    return products_of(_mm256_sign_epi8(w, w), _mm256_sign_epi8(values, w));
  }
};

GALAGO_INLINE Dot add_scaled(__m256 products, float scale, Dot to) {
  return {_mm256_fmadd_ps(products, _mm256_set1_ps(scale), to.v)};
}
/// The first 16 elements of the chunk have another scale than the last.
GALAGO_INLINE Dot add_scaled(__m256 products, float first, float last, Dot to) {
  return {_mm256_fmadd_ps(products, _mm256_set_m128(_mm_set1_ps(last), _mm_set1_ps(first)), to.v)};
}

/// What a chunk's quants become in a panel: 32 unsigned bytes in the order of k.
template <int bits>
struct PanelQuants;
template <>
struct PanelQuants<4> {
  GALAGO_INLINE __m256i load(const std::uint8_t* p) {
    const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(both, 4), both), _mm256_set1_epi8(15));
  }
};
inline constexpr std::int64_t transposed_rows = 8;
/// to: quad q of row j at q * to_stride + 4 * j, for the chunks of up to 8 rows; missing rows are 0.
template <class Quants>
void transpose_quads(const std::uint8_t* rows, std::int64_t row_bytes, std::int64_t n_rows, std::uint8_t* to,
                     std::int64_t to_stride) {
  __m256i r[8];
  for (int i = 0; i < 8; ++i) r[i] = i < n_rows ? Quants::load(rows + i * row_bytes) : _mm256_setzero_si256();
  __m256i pairs[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int half = 0; half < 2; ++half) {
    const __m256i* p = pairs + 4 * half;
    r[4 * half] = _mm256_unpacklo_epi64(p[0], p[2]);
    r[4 * half + 1] = _mm256_unpackhi_epi64(p[0], p[2]);
    r[4 * half + 2] = _mm256_unpacklo_epi64(p[1], p[3]);
    r[4 * half + 3] = _mm256_unpackhi_epi64(p[1], p[3]);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * to_stride),
                        _mm256_permute2x128_si256(r[i], r[4 + i], 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + (4 + i) * to_stride),
                        _mm256_permute2x128_si256(r[i], r[4 + i], 0x31));
  }
}

#if defined(GALAGO_ISA_AVX512)

/// Four bytes for each of `width` columns.
struct Quads {
  __m512i v;
};
GALAGO_INLINE Quads load_quads(const std::uint8_t* p) {
  return {_mm512_loadu_si512(p)};
}
GALAGO_INLINE Quads broadcast_quad(std::int32_t x) {
  return {_mm512_set1_epi32(x)};
}
GALAGO_INLINE Quads zero_quads() {
  return {_mm512_setzero_si512()};
}
inline constexpr int panel_bits = 4;
GALAGO_INLINE Quads accumulate(Quads sums, Quads w, Quads x) {
  __m512i result = _mm512_add_epi16(sums.v, _mm512_maddubs_epi16(w.v, x.v));
  __asm__("" : "+v"(result));  // compilers reorder sums of whole numbers, and run out of registers
  return {result};
}
GALAGO_INLINE Vec to_floats(Quads sums) {
  return {_mm512_maskz_cvtepi32_ps(0xffff, _mm512_madd_epi16(sums.v, _mm512_set1_epi16(1)))};
}

#else

/// Four bytes for each of `width` columns.
struct Quads {
  __m256i v;
};
GALAGO_INLINE Quads load_quads(const std::uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
GALAGO_INLINE Quads broadcast_quad(std::int32_t x) {
  return {_mm256_set1_epi32(x)};
}
GALAGO_INLINE Quads zero_quads() {
  return {_mm256_setzero_si256()};
}
inline constexpr int panel_bits = 4;
GALAGO_INLINE Quads accumulate(Quads sums, Quads w, Quads x) {
  __m256i result = _mm256_add_epi16(sums.v, _mm256_maddubs_epi16(w.v, x.v));
  __asm__("" : "+x"(result));  // compilers reorder sums of whole numbers, and run out of registers
  return {result};
}
GALAGO_INLINE Vec to_floats(Quads sums) {
  return {_mm256_cvtepi32_ps(_mm256_madd_epi16(sums.v, _mm256_set1_epi16(1)))};
}

#endif

}  // namespace galago::kernels::GALAGO_ISA
