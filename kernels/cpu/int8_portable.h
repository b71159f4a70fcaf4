// Products of int8 activations with quants in plain C++; named as in int8_x86.h.
#pragma once

#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {

/// Running sums of a dot product.
struct Dot {
  float v[8];
};
/// Sums of four products each.
struct Products {
  std::int32_t v[8];
};

GALAGO_INLINE Dot zero_dot() {
  return {};
}
GALAGO_INLINE float sum(const Dot& a) {
  return ((a.v[0] + a.v[4]) + (a.v[2] + a.v[6])) + ((a.v[1] + a.v[5]) + (a.v[3] + a.v[7]));
}

/// A chunk of 32 unsigned quants of 4 bits.
struct NibbleChunk {
  static constexpr std::int64_t bytes = 16;
  GALAGO_INLINE Products products(const std::uint8_t* p, const std::int8_t* x) {
    Products sums{};
    for (int i = 0; i < 16; ++i) {
      sums.v[i / 4] += (p[i] & 15) * x[i];
      sums.v[4 + i / 4] += (p[i] >> 4) * x[16 + i];
    }
    return sums;
  }
};

/// A chunk of 32 signed quants of 8 bits.
struct ByteChunk {
  static constexpr std::int64_t bytes = 32;
  GALAGO_INLINE Products products(const std::uint8_t* p, const std::int8_t* x) {
    Products sums{};
    for (int i = 0; i < 32; ++i) sums.v[i / 4] += static_cast<std::int8_t>(p[i]) * x[i];
    return sums;
  }
};

GALAGO_INLINE Dot add_scaled(const Products& products, float first, float last, Dot to) {
  for (int i = 0; i < 8; ++i) to.v[i] += static_cast<float>(products.v[i]) * (i < 4 ? first : last);
  return to;
}
GALAGO_INLINE Dot add_scaled(const Products& products, float scale, const Dot& to) {
  return add_scaled(products, scale, scale, to);
}

// Eight neighbouring chunks of quants of 4 bits at once: each has its place among the eight of a Dot.

GALAGO_INLINE Dot splat(float x) {
  return {{x, x, x, x, x, x, x, x}};
}
GALAGO_INLINE Dot load_eight(const float* p) {
  Dot r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
GALAGO_INLINE Dot mul(Dot a, const Dot& b) {
  for (int i = 0; i < 8; ++i) a.v[i] *= b.v[i];
  return a;
}
GALAGO_INLINE Dot fma(const Dot& a, const Dot& b, Dot c) {
  for (int i = 0; i < 8; ++i) c.v[i] += a.v[i] * b.v[i];
  return c;
}
/// Numbers in FP16 of the groups of eight chunks, which are 1 << shift long.
template <int shift>
GALAGO_INLINE Dot eight_halves(const std::uint8_t* p) {
  Dot r;
  for (int i = 0; i < 8; ++i) r.v[i] = widen_f16(reinterpret_cast<const std::uint16_t*>(p)[i >> shift]);
  return r;
}
/// Signed bytes likewise.
template <int shift>
GALAGO_INLINE Dot eight_bytes(const std::uint8_t* p) {
  Dot r;
  for (int i = 0; i < 8; ++i) r.v[i] = static_cast<float>(static_cast<std::int8_t>(p[i >> shift]));
  return r;
}
/// sums [n] of each chunk's quants times the n rows x, which are paired.
template <int n>
GALAGO_INLINE void sums_of_eight(const std::uint8_t* p, const std::int8_t* const* x, Dot* sums) {
  for (int row = 0; row < n; ++row) {
    for (int i = 0; i < 8; ++i) {
      const std::uint8_t* quants = p + 16 * i;
      const std::int8_t* left = x[row] + 64 * (i / 2) + 16 * (i % 2);
      std::int32_t total = 0;
      for (int j = 0; j < 16; ++j) total += (quants[j] & 15) * left[j] + (quants[j] >> 4) * left[32 + j];
      sums[row].v[i] = static_cast<float>(total);
    }
  }
}

/// What a chunk's quants become in a panel: 32 unsigned bytes in the order of k.
/// Quants of 8 bits are made unsigned by adding 128.
template <int bits>
struct PanelQuants;
template <>
struct PanelQuants<4> {
  GALAGO_INLINE std::uint8_t at(const std::uint8_t* p, int i) { return i < 16 ? p[i] & 15 : p[i - 16] >> 4; }
};
template <>
struct PanelQuants<8> {
  GALAGO_INLINE std::uint8_t at(const std::uint8_t* p, int i) { return p[i] ^ 128; }
};

inline constexpr std::int64_t transposed_rows = width;
/// to: quad q of row j at q * to_stride + 4 * j, for the chunks of up to `width` rows; missing rows are 0.
template <class Quants>
void transpose_quads(const std::uint8_t* rows, std::int64_t row_bytes, std::int64_t n_rows, std::uint8_t* to,
                     std::int64_t to_stride) {
  for (int j = 0; j < width; ++j) {
    for (int i = 0; i < 32; ++i) {
      to[i / 4 * to_stride + 4 * j + i % 4] = j < n_rows ? Quants::at(rows + j * row_bytes, i) : 0;
    }
  }
}

/// Four bytes for each of `width` columns; or the sum of each column.
struct Quads {
  std::uint8_t v[width][4];
};
struct QuadSums {
  std::int32_t v[width];
};
GALAGO_INLINE Quads load_quads(const std::uint8_t* p) {
  Quads r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
GALAGO_INLINE Quads broadcast_quad(std::int32_t x) {
  Quads r;
  for (auto& column : r.v) memcpy(column, &x, 4);
  return r;
}
GALAGO_INLINE QuadSums zero_quads() {
  return {};
}
inline constexpr int panel_bits = 8;
inline constexpr int int8_rows_at_once = 4;
GALAGO_INLINE QuadSums accumulate(QuadSums sums, const Quads& w, const Quads& x) {
  for (int i = 0; i < width; ++i) {
    for (int j = 0; j < 4; ++j) sums.v[i] += w.v[i][j] * static_cast<std::int8_t>(x.v[i][j]);
  }
  return sums;
}
GALAGO_INLINE Vec to_floats(const QuadSums& sums) {
  Vec r;
  for (int i = 0; i < width; ++i) r.v[i] = static_cast<float>(sums.v[i]);
  return r;
}

}  // namespace galago::kernels::GALAGO_ISA
