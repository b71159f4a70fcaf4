// The AVX-512 intrinsics that the kernels use (F, BW, DQ, VL, VNNI, BF16) as pairs of AVX2 operations, so
// that those sets' sources are tested on machines without them. Included before everything else; the
// compiler's own names are replaced by macros.
#pragma once
#pragma GCC system_header  // some of the names are macros already

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include <cstdint>

namespace galago_emulated {

struct Floats {
  __m256 half[2];
};
struct Ints {
  __m256i half[2];
};
struct Doubles {
  __m256d half[2];
};
struct Bf16x32 {
  std::uint16_t v[32];
};
struct Bf16x16 {
  std::uint16_t v[16];
};

#define GALAGO_EMULATED static inline __attribute__((always_inline))

template <class Result, class Operand, class Operation>
GALAGO_EMULATED Result both(const Operand& a, Operation operation) {
  return {{operation(a.half[0]), operation(a.half[1])}};
}
template <class Result, class Left, class Right, class Operation>
GALAGO_EMULATED Result both(const Left& a, const Right& b, Operation operation) {
  return {{operation(a.half[0], b.half[0]), operation(a.half[1], b.half[1])}};
}

#define GALAGO_UNARY(name, to, from, operation)              \
  GALAGO_EMULATED to name(const from& a) {                   \
    return both<to>(a, [](auto v) { return operation(v); }); \
  }
#define GALAGO_BINARY(name, to, left, right, operation)                    \
  GALAGO_EMULATED to name(const left& a, const right& b) {                 \
    return both<to>(a, b, [](auto v, auto w) { return operation(v, w); }); \
  }

GALAGO_BINARY(add_ps, Floats, Floats, Floats, _mm256_add_ps)
GALAGO_BINARY(sub_ps, Floats, Floats, Floats, _mm256_sub_ps)
GALAGO_BINARY(mul_ps, Floats, Floats, Floats, _mm256_mul_ps)
GALAGO_BINARY(div_ps, Floats, Floats, Floats, _mm256_div_ps)
GALAGO_BINARY(max_ps, Floats, Floats, Floats, _mm256_max_ps)
GALAGO_BINARY(min_ps, Floats, Floats, Floats, _mm256_min_ps)
GALAGO_BINARY(and_ps, Floats, Floats, Floats, _mm256_and_ps)
GALAGO_BINARY(or_ps, Floats, Floats, Floats, _mm256_or_ps)
GALAGO_BINARY(andnot_ps, Floats, Floats, Floats, _mm256_andnot_ps)
GALAGO_BINARY(or_si512, Ints, Ints, Ints, _mm256_or_si256)
GALAGO_BINARY(add_epi16, Ints, Ints, Ints, _mm256_add_epi16)
GALAGO_BINARY(add_epi32, Ints, Ints, Ints, _mm256_add_epi32)
GALAGO_BINARY(madd_epi16, Ints, Ints, Ints, _mm256_madd_epi16)
GALAGO_BINARY(maddubs_epi16, Ints, Ints, Ints, _mm256_maddubs_epi16)
GALAGO_UNARY(cvtepi32_ps, Floats, Ints, _mm256_cvtepi32_ps)
GALAGO_UNARY(cvtps_epi32, Ints, Floats, _mm256_cvtps_epi32)
GALAGO_UNARY(castps_pd, Doubles, Floats, _mm256_castps_pd)
GALAGO_UNARY(castsi512_ps, Floats, Ints, _mm256_castsi256_ps)

GALAGO_EMULATED Floats fmadd_ps(const Floats& a, const Floats& b, const Floats& c) {
  return {
      {_mm256_fmadd_ps(a.half[0], b.half[0], c.half[0]), _mm256_fmadd_ps(a.half[1], b.half[1], c.half[1])}};
}
GALAGO_EMULATED Floats set1_ps(float x) {
  return {{_mm256_set1_ps(x), _mm256_set1_ps(x)}};
}
GALAGO_EMULATED Ints set1_epi16(short x) {
  return {{_mm256_set1_epi16(x), _mm256_set1_epi16(x)}};
}
GALAGO_EMULATED Ints set1_epi32(int x) {
  return {{_mm256_set1_epi32(x), _mm256_set1_epi32(x)}};
}
GALAGO_EMULATED Floats load_ps(const float* p) {
  return {{_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}};
}
GALAGO_EMULATED void store_ps(float* p, const Floats& a) {
  _mm256_storeu_ps(p, a.half[0]);
  _mm256_storeu_ps(p + 8, a.half[1]);
}
GALAGO_EMULATED Ints load_ints(const void* p) {
  const auto* from = static_cast<const __m256i*>(p);
  return {{_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)}};
}
GALAGO_EMULATED __m256d extract_f64x4(const Doubles& a, int half) {
  return a.half[half];
}
GALAGO_EMULATED Floats widen_f16(__m256i bits) {
  return {
      {_mm256_cvtph_ps(_mm256_castsi256_si128(bits)), _mm256_cvtph_ps(_mm256_extracti128_si256(bits, 1))}};
}
GALAGO_EMULATED __m256i narrow_f16(const Floats& a) {
  return _mm256_set_m128i(_mm256_cvtps_ph(a.half[1], _MM_FROUND_TO_NEAREST_INT),
                          _mm256_cvtps_ph(a.half[0], _MM_FROUND_TO_NEAREST_INT));
}
GALAGO_EMULATED Ints widen_signed_bytes(__m128i a) {
  return {{_mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(a, a))}};
}
GALAGO_EMULATED Ints widen_bytes(__m128i a) {
  return {{_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(a, a))}};
}
GALAGO_EMULATED Ints widen_words(__m256i a) {
  return {{_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)),
           _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1))}};
}
GALAGO_EMULATED Ints shift_left(const Ints& a, unsigned count) {
  const __m128i by = _mm_cvtsi32_si128(static_cast<int>(count));
  return {{_mm256_sll_epi32(a.half[0], by), _mm256_sll_epi32(a.half[1], by)}};
}
GALAGO_EMULATED Floats round_ps(const Floats& a) {
  return {{_mm256_round_ps(a.half[0], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
           _mm256_round_ps(a.half[1], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}};
}
GALAGO_EMULATED Floats floor_ps(const Floats& a) {
  return {{_mm256_floor_ps(a.half[0]), _mm256_floor_ps(a.half[1])}};
}
GALAGO_EMULATED Floats round_ps(const Floats& a, int rounding) {
  return (rounding & 3) == _MM_FROUND_TO_NEG_INF ? floor_ps(a) : round_ps(a);
}
GALAGO_EMULATED Floats pick_ps(unsigned mask, const Floats& yes, const Floats& no) {
  float from[16], to[16];
  memcpy(from, &yes, sizeof from);
  memcpy(to, &no, sizeof to);
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) to[i] = from[i];
  }
  return load_ps(to);
}
/// Lanes that are not asked for may lie outside of any memory.
GALAGO_EMULATED Floats load_some(const Floats& otherwise, unsigned mask, const float* p) {
  float to[16];
  memcpy(to, &otherwise, sizeof to);
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) to[i] = p[i];
  }
  return load_ps(to);
}
/// VSCALEFPS: a times two to the power of b's floor.
GALAGO_EMULATED Floats scale_ps(const Floats& a, const Floats& b) {
  float value[16], power[16];
  memcpy(value, &a, sizeof value);
  memcpy(power, &b, sizeof power);
  for (int i = 0; i < 16; ++i) value[i] *= exp2f(floorf(power[i]));
  return load_ps(value);
}
GALAGO_EMULATED void store_ints(void* p, const Ints& a) {
  memcpy(p, &a, sizeof a);
}
GALAGO_EMULATED Floats permute_ps(const Ints& index, const Floats& a) {
  std::int32_t at[16];
  float from[16], to[16];
  memcpy(at, &index, sizeof at);
  memcpy(from, &a, sizeof from);
  for (int i = 0; i < 16; ++i) to[i] = from[at[i] & 15];
  return load_ps(to);
}

/// VPDPBUSD: four products of unsigned and signed bytes, added to 32 bits.
GALAGO_EMULATED __m256i dpbusd_256(__m256i sums, __m256i a, __m256i b) {
  std::int32_t to[8];
  std::uint8_t left[32];
  std::int8_t right[32];
  memcpy(to, &sums, sizeof to);
  memcpy(left, &a, sizeof left);
  memcpy(right, &b, sizeof right);
  for (int i = 0; i < 32; ++i) to[i / 4] += left[i] * right[i];
  __m256i result;
  memcpy(&result, to, sizeof result);
  return result;
}
GALAGO_EMULATED Ints dpbusd(const Ints& sums, const Ints& a, const Ints& b) {
  return {{dpbusd_256(sums.half[0], a.half[0], b.half[0]), dpbusd_256(sums.half[1], a.half[1], b.half[1])}};
}

GALAGO_EMULATED float bf16_to_float(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}
/// VCVTNEPS2BF16: to the nearest, ties to even.
GALAGO_EMULATED Bf16x16 narrow_bf16(const Floats& a) {
  std::uint32_t bits[16];
  memcpy(bits, &a, sizeof bits);
  Bf16x16 r;
  for (int i = 0; i < 16; ++i) {
    const bool is_nan = (bits[i] & 0x7fffffffU) > 0x7f800000U;
    const std::uint32_t rounded = is_nan ? bits[i] | 0x400000U : bits[i] + 0x7fffU + ((bits[i] >> 16) & 1U);
    r.v[i] = static_cast<std::uint16_t>(rounded >> 16);
  }
  return r;
}
/// VCVTNE2PS2BF16: `low` comes first.
GALAGO_EMULATED Bf16x32 narrow_bf16(const Floats& high, const Floats& low) {
  const Bf16x16 halves[2] = {narrow_bf16(low), narrow_bf16(high)};
  Bf16x32 r;
  memcpy(&r, halves, sizeof r);
  return r;
}
/// VDPBF16PS: two products of neighbours, added to 32 bits.
GALAGO_EMULATED Floats dpbf16(const Floats& sums, const Bf16x32& a, const Bf16x32& b) {
  float to[16];
  memcpy(to, &sums, sizeof to);
  for (int i = 0; i < 16; ++i) {
    to[i] += bf16_to_float(a.v[2 * i + 1]) * bf16_to_float(b.v[2 * i + 1]);
    to[i] += bf16_to_float(a.v[2 * i]) * bf16_to_float(b.v[2 * i]);
  }
  return load_ps(to);
}

}  // namespace galago_emulated

#define __m512 galago_emulated::Floats
#define __m512i galago_emulated::Ints
#define __m512bh galago_emulated::Bf16x32
#define __m256bh galago_emulated::Bf16x16

#define _mm512_add_epi16(a, b) galago_emulated::add_epi16(a, b)
#define _mm512_add_epi32(a, b) galago_emulated::add_epi32(a, b)
#define _mm512_add_ps(a, b) galago_emulated::add_ps(a, b)
#define _mm512_and_ps(a, b) galago_emulated::and_ps(a, b)
#define _mm512_castps_pd(a) galago_emulated::castps_pd(a)
#define _mm512_castsi512_ps(a) galago_emulated::castsi512_ps(a)
#define _mm512_cvtne2ps_pbh(high, low) galago_emulated::narrow_bf16(high, low)
#define _mm512_cvtneps_pbh(a) galago_emulated::narrow_bf16(a)
#define _mm512_div_ps(a, b) galago_emulated::div_ps(a, b)
#define _mm512_dpbf16_ps(sums, a, b) galago_emulated::dpbf16(sums, a, b)
#define _mm512_dpbusd_epi32(sums, a, b) galago_emulated::dpbusd(sums, a, b)
#define _mm512_fmadd_ps(a, b, c) galago_emulated::fmadd_ps(a, b, c)
#define _mm512_loadu_ps(p) galago_emulated::load_ps(p)
#define _mm512_loadu_si512(p) galago_emulated::load_ints(p)
#define _mm512_madd_epi16(a, b) galago_emulated::madd_epi16(a, b)
#define _mm512_maddubs_epi16(a, b) galago_emulated::maddubs_epi16(a, b)
#define _mm512_maskz_andnot_ps(mask, a, b) galago_emulated::andnot_ps(a, b)
#define _mm512_maskz_cvtepi32_ps(mask, a) galago_emulated::cvtepi32_ps(a)
#define _mm512_maskz_cvtepi8_epi32(mask, a) galago_emulated::widen_signed_bytes(a)
#define _mm512_maskz_cvtepu16_epi32(mask, a) galago_emulated::widen_words(a)
#define _mm512_maskz_cvtepu8_epi32(mask, a) galago_emulated::widen_bytes(a)
#define _mm512_maskz_cvtph_ps(mask, a) galago_emulated::widen_f16(a)
#define _mm512_maskz_cvtps_epi32(mask, a) galago_emulated::cvtps_epi32(a)
#define _mm512_maskz_cvtps_ph(mask, a, rounding) galago_emulated::narrow_f16(a)
#define _mm512_maskz_extractf64x4_pd(mask, a, half) galago_emulated::extract_f64x4(a, half)
#define _mm512_maskz_max_ps(mask, a, b) galago_emulated::max_ps(a, b)
#define _mm512_maskz_min_ps(mask, a, b) galago_emulated::min_ps(a, b)
#define _mm512_maskz_permutexvar_ps(mask, index, a) galago_emulated::permute_ps(index, a)
#define _mm512_mask_loadu_ps(otherwise, mask, p) galago_emulated::load_some(otherwise, mask, p)
#define _mm512_maskz_mov_ps(mask, a) galago_emulated::pick_ps(mask, a, galago_emulated::set1_ps(0))
#define _mm512_maskz_roundscale_ps(mask, a, rounding) galago_emulated::round_ps(a, rounding)
#define _mm512_maskz_scalef_ps(mask, a, b) galago_emulated::scale_ps(a, b)
#define _mm512_maskz_slli_epi32(mask, a, count) galago_emulated::shift_left(a, count)
#define _mm512_mul_ps(a, b) galago_emulated::mul_ps(a, b)
#define _mm512_or_si512(a, b) galago_emulated::or_si512(a, b)
#define _mm512_or_ps(a, b) galago_emulated::or_ps(a, b)
#define _mm512_set1_epi16(a) galago_emulated::set1_epi16(a)
#define _mm512_set1_epi32(a) galago_emulated::set1_epi32(a)
#define _mm512_set1_ps(a) galago_emulated::set1_ps(a)
#define _mm512_setzero_si512() galago_emulated::set1_epi32(0)
#define _mm512_storeu_ps(p, a) galago_emulated::store_ps(p, a)
#define _mm512_storeu_si512(p, a) galago_emulated::store_ints(p, a)
#define _mm512_sub_ps(a, b) galago_emulated::sub_ps(a, b)
#define _mm256_dpbusd_epi32(sums, a, b) galago_emulated::dpbusd_256(sums, a, b)
#define _mm256_dpbusd_avx_epi32(sums, a, b) galago_emulated::dpbusd_256(sums, a, b)
