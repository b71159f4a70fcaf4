// Products of int8 activations with quants, for AVX2 and wider. With VNNI they are summed in 32 bits.
// Without, in 16: a quant of 4 bits times 127 fits 16 times; quants of 8 bits have dot products only: as two
// planes of 4 bits each they were measured to win nothing over FP32 where x has many rows.
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose_x86.h"

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

#if defined(GALAGO_VNNI)
/// Adds the sums of four products each, in 32 bits.
GALAGO_INLINE __m256i add_products(__m256i sums, __m256i unsigned_quants, __m256i x) {
#if defined(GALAGO_AVX512)
  return _mm256_dpbusd_epi32(sums, unsigned_quants, x);
#else
  return _mm256_dpbusd_avx_epi32(sums, unsigned_quants, x);
#endif
}
#endif

/// Sums of four products each; their place among the eight is that of the elements in the chunk.
GALAGO_INLINE __m256 products_of(__m256i unsigned_quants, __m256i x) {
#if defined(GALAGO_VNNI)
  return _mm256_cvtepi32_ps(add_products(_mm256_setzero_si256(), unsigned_quants, x));
#else
  return _mm256_cvtepi32_ps(
      _mm256_madd_epi16(_mm256_maddubs_epi16(unsigned_quants, x), _mm256_set1_epi16(1)));
#endif
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

// Eight neighbouring chunks of quants of 4 bits at once: each has its place among the eight of a Dot.

GALAGO_INLINE Dot splat(float x) {
  return {_mm256_set1_ps(x)};
}
GALAGO_INLINE Dot load_eight(const float* p) {
  return {_mm256_loadu_ps(p)};
}
GALAGO_INLINE Dot mul(Dot a, Dot b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
GALAGO_INLINE Dot fma(Dot a, Dot b, Dot c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}

/// The first 8 >> shift numbers, each 1 << shift times.
template <int shift>
GALAGO_INLINE Dot spread(__m256 few) {
  if constexpr (shift == 0) return {few};
  const __m256i order =
      shift == 1 ? _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3) : _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
  return {_mm256_permutevar8x32_ps(few, order)};
}
/// Numbers in FP16 of the groups of eight chunks.
template <int shift>
GALAGO_INLINE Dot eight_halves(const std::uint8_t* p) {
  __m128i few;
  if constexpr (shift == 0) few = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  if constexpr (shift == 1) few = _mm_loadu_si64(p);
  if constexpr (shift == 2) few = _mm_loadu_si32(p);
  return spread<shift>(_mm256_cvtph_ps(few));
}
/// Signed bytes of the groups of eight chunks.
template <int shift>
GALAGO_INLINE Dot eight_bytes(const std::uint8_t* p) {
  std::int64_t few = 0;
  memcpy(&few, p, 8 >> shift);
  return spread<shift>(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(few))));
}

#if defined(GALAGO_VNNI)
/// Eight sums of four products each of `low` with `x_low` and `high` with `x_high`, in each half of a chunk
/// of its own.
GALAGO_INLINE __m256i sum_products(__m256i low, __m256i x_low, __m256i high, __m256i x_high) {
  return add_products(add_products(_mm256_setzero_si256(), low, x_low), high, x_high);
}
/// The eight chunks' sums; in each half those of one chunk of each pair.
GALAGO_INLINE __m256i sum_pairs(const __m256i* pairs) {
  return _mm256_hadd_epi32(_mm256_hadd_epi32(pairs[0], pairs[1]), _mm256_hadd_epi32(pairs[2], pairs[3]));
}
#else
/// Likewise sixteen sums, of two products each, in 16 bits.
GALAGO_INLINE __m256i sum_products(__m256i low, __m256i x_low, __m256i high, __m256i x_high) {
  __m256i result = _mm256_add_epi16(_mm256_maddubs_epi16(low, x_low), _mm256_maddubs_epi16(high, x_high));
  // Or all products are made before the first sum, and there are too few registers.
  __asm__("" : "+x"(result));
  return result;
}
/// 16 products of 15 and 127 fit in 16 bits, the last two sums are made in 32. (With horizontal additions
/// three terms of x were measured to take 5 % longer.)
GALAGO_INLINE __m256i sum_pairs(const __m256i* pairs) {
  __m256i half[2];
  for (int i = 0; i < 2; ++i) {
    half[i] = _mm256_add_epi16(_mm256_unpacklo_epi16(pairs[2 * i], pairs[2 * i + 1]),
                               _mm256_unpackhi_epi16(pairs[2 * i], pairs[2 * i + 1]));
  }
  const __m256i quarters =
      _mm256_add_epi16(_mm256_unpacklo_epi32(half[0], half[1]), _mm256_unpackhi_epi32(half[0], half[1]));
  const __m256i neighbours = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15,  //
                                              0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
  return _mm256_madd_epi16(_mm256_shuffle_epi8(quarters, neighbours), _mm256_set1_epi16(1));
}
#endif
/// sums [n] of each chunk's quants times the n rows x, which are paired. Two chunks are unpacked at once: the
/// lower quants of both, then the upper.
template <int n>
GALAGO_INLINE void sums_of_eight(const std::uint8_t* p, const std::int8_t* const* x, Dot* sums) {
  __m256i pairs[n][4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * i));
    const __m256i low = _mm256_and_si256(both, _mm256_set1_epi8(15));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
    for (int row = 0; row < n; ++row) {
      const auto* left = reinterpret_cast<const __m256i*>(x[row] + 64 * i);
      pairs[row][i] = sum_products(low, _mm256_loadu_si256(left), high, _mm256_loadu_si256(left + 1));
    }
  }
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int row = 0; row < n; ++row) {
    sums[row].v = _mm256_cvtepi32_ps(_mm256_permutevar8x32_epi32(sum_pairs(pairs[row]), order));
  }
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
#if defined(GALAGO_VNNI)
inline constexpr int panel_bits = 8;
template <>
struct PanelQuants<8> {
  GALAGO_INLINE __m256i load(const std::uint8_t* p) {
    return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), _mm256_set1_epi8(-128));
  }
};
#else
inline constexpr int panel_bits = 4;
#endif

#if defined(GALAGO_AVX512)

inline constexpr int int8_rows_at_once = 6;
/// Four bytes for each of `width` columns; and their sums.
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
GALAGO_INLINE Quads accumulate(Quads sums, Quads w, Quads x) {
#if defined(GALAGO_VNNI)
  return {_mm512_dpbusd_epi32(sums.v, w.v, x.v)};
#else
  __m512i result = _mm512_add_epi16(sums.v, _mm512_maddubs_epi16(w.v, x.v));
  __asm__("" : "+v"(result));  // compilers reorder sums of whole numbers, and run out of registers
  return {result};
#endif
}
GALAGO_INLINE Vec to_floats(Quads sums) {
#if !defined(GALAGO_VNNI)
  sums.v = _mm512_madd_epi16(sums.v, _mm512_set1_epi16(1));
#endif
  return {_mm512_maskz_cvtepi32_ps(0xffff, sums.v)};
}

#else

inline constexpr int int8_rows_at_once = 4;
/// Four bytes for each of `width` columns; and their sums.
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
GALAGO_INLINE Quads accumulate(Quads sums, Quads w, Quads x) {
#if defined(GALAGO_VNNI)
  return {add_products(sums.v, w.v, x.v)};
#else
  __m256i result = _mm256_add_epi16(sums.v, _mm256_maddubs_epi16(w.v, x.v));
  __asm__("" : "+x"(result));  // compilers reorder sums of whole numbers, and run out of registers
  return {result};
#endif
}
GALAGO_INLINE Vec to_floats(Quads sums) {
#if !defined(GALAGO_VNNI)
  sums.v = _mm256_madd_epi16(sums.v, _mm256_set1_epi16(1));
#endif
  return {_mm256_cvtepi32_ps(sums.v)};
}

#endif

}  // namespace galago::kernels::GALAGO_ISA
