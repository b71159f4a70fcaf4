// Four floats in plain C++, which compilers turn into whatever vectors the target has at least.
#pragma once

#include <math.h>
#include <string.h>

#include <cstdint>

namespace galago::kernels::GALAGO_ISA {

inline constexpr int width = 4;
inline constexpr int micro_rows = 4;

struct Vec {
  float v[4];
};

GALAGO_INLINE Vec set1(float x) {
  return {{x, x, x, x}};
}
GALAGO_INLINE Vec load(const float* p) {
  Vec r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
GALAGO_INLINE void store(float* p, Vec a) {
  memcpy(p, a.v, sizeof a.v);
}
GALAGO_INLINE Vec add(Vec a, Vec b) {
  for (int i = 0; i < 4; ++i) a.v[i] += b.v[i];
  return a;
}
GALAGO_INLINE Vec sub(Vec a, Vec b) {
  for (int i = 0; i < 4; ++i) a.v[i] -= b.v[i];
  return a;
}
GALAGO_INLINE Vec mul(Vec a, Vec b) {
  for (int i = 0; i < 4; ++i) a.v[i] *= b.v[i];
  return a;
}
GALAGO_INLINE Vec div(Vec a, Vec b) {
  for (int i = 0; i < 4; ++i) a.v[i] /= b.v[i];
  return a;
}
GALAGO_INLINE Vec fma(Vec a, Vec b, Vec c) {
  for (int i = 0; i < 4; ++i) c.v[i] += a.v[i] * b.v[i];
  return c;
}
GALAGO_INLINE Vec max(Vec a, Vec b) {
  for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
GALAGO_INLINE Vec min(Vec a, Vec b) {
  for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
GALAGO_INLINE Vec round(Vec a) {
  for (int i = 0; i < 4; ++i) a.v[i] = nearbyintf(a.v[i]);
  return a;
}
/// 2^n for whole n within the range of normal floats.
GALAGO_INLINE Vec power_of_two(Vec n) {
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(n.v[i]) + 127) << 23;
    memcpy(&n.v[i], &bits, 4);
  }
  return n;
}
/// |a| with the sign of b.
GALAGO_INLINE Vec with_sign(Vec a, Vec b) {
  for (int i = 0; i < 4; ++i) a.v[i] = copysignf(a.v[i], b.v[i]);
  return a;
}
GALAGO_INLINE float sum(Vec a) {
  return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
}

GALAGO_INLINE float widen_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 31U;
  const std::uint32_t mantissa = bits & 1023U;
  if (exponent == 0) {  // zero or subnormal: a multiple of 2^-24
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide =
      exponent == 31 ? 0x7f800000U | mantissa << 13 : (exponent + 112) << 23 | mantissa << 13;
  const std::uint32_t result = sign | wide;
  float value;
  memcpy(&value, &result, 4);
  return value;
}

GALAGO_INLINE std::uint16_t narrow_f16(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, 4);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return sign | 0x7e00U;   // NaN
  if (magnitude >= 0x477ff000U) return sign | 0x7c00U;  // rounds to infinity
  if (magnitude < 0x38800000U) {  // subnormal: add and subtract what aligns the last bit
    float absolute;
    memcpy(&absolute, &magnitude, 4);
    const float aligned = absolute + 0.5F;
    std::uint32_t aligned_bits;
    memcpy(&aligned_bits, &aligned, 4);
    return static_cast<std::uint16_t>(sign | (aligned_bits - 0x3f000000U));
  }
  const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

GALAGO_INLINE Vec load_f16(const std::uint16_t* p) {
  return {{widen_f16(p[0]), widen_f16(p[1]), widen_f16(p[2]), widen_f16(p[3])}};
}
GALAGO_INLINE void store_f16(std::uint16_t* p, Vec a) {
  for (int i = 0; i < 4; ++i) p[i] = narrow_f16(a.v[i]);
}
GALAGO_INLINE float widen_bf16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}
GALAGO_INLINE Vec load_bf16(const std::uint16_t* p) {
  return {{widen_bf16(p[0]), widen_bf16(p[1]), widen_bf16(p[2]), widen_bf16(p[3])}};
}

/// The 32 quants of a chunk of 4 bits each, byte i holding elements i and 16 + i; `zero` is taken from each.
GALAGO_INLINE void load_nibbles(const std::uint8_t* p, int zero, Vec* to) {
  for (int i = 0; i < 16; ++i) {
    to[i / 4].v[i % 4] = static_cast<float>((p[i] & 15) - zero);
    to[4 + i / 4].v[i % 4] = static_cast<float>((p[i] >> 4) - zero);
  }
}
/// The same chunk's quants as indices into a table of 16.
GALAGO_INLINE void look_up_nibbles(const std::uint8_t* p, const float* table, Vec* to) {
  for (int i = 0; i < 16; ++i) {
    to[i / 4].v[i % 4] = table[p[i] & 15];
    to[4 + i / 4].v[i % 4] = table[p[i] >> 4];
  }
}
/// A chunk of 32 signed bytes.
GALAGO_INLINE void load_bytes(const std::uint8_t* p, Vec* to) {
  for (int i = 0; i < 32; ++i) to[i / 4].v[i % 4] = static_cast<float>(static_cast<std::int8_t>(p[i]));
}

}  // namespace galago::kernels::GALAGO_ISA
