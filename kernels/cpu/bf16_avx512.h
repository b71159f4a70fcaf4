// Rows of x in BF16 times a packed panel, with VDPBF16PS.
#pragma once

#include <string.h>

#include "kernels/cpu/weight_rows.h"

namespace galago::kernels::GALAGO_ISA {

/// sums + the products of both halves of each pair
GALAGO_INLINE Vec add_products(Vec sums, __m512i w, __m512i x) {
  __m512bh left;
  __m512bh right;
  memcpy(&left, &w, sizeof left);
  memcpy(&right, &x, sizeof right);
  return {_mm512_dpbf16_ps(sums.v, left, right)};
}

/// sums [rows][panel] += x [rows] times packed [n_pairs][panel]
template <int rows>
void multiply_pairs(const std::uint16_t* x, std::int64_t x_stride, const std::uint32_t* packed,
                    std::int64_t n_pairs, bool fresh, float* sums) {
  Vec left[rows];
  Vec right[rows];
  for (int i = 0; i < rows; ++i) {
    left[i] = fresh ? set1(0) : load(sums + i * panel);
    right[i] = fresh ? set1(0) : load(sums + i * panel + width);
  }
  for (std::int64_t pair = 0; pair < n_pairs; ++pair) {
    const __m512i w0 = _mm512_loadu_si512(packed + pair * panel);
    const __m512i w1 = _mm512_loadu_si512(packed + pair * panel + width);
    for (int i = 0; i < rows; ++i) {
      std::int32_t two;
      memcpy(&two, x + i * x_stride + 2 * pair, 4);
      const __m512i value = _mm512_set1_epi32(two);
      left[i] = add_products(left[i], w0, value);
      right[i] = add_products(right[i], w1, value);
    }
  }
  for (int i = 0; i < rows; ++i) {
    store(sums + i * panel, left[i]);
    store(sums + i * panel + width, right[i]);
  }
}

/// sums [n_rows][panel] += x [n_rows, 2 * n_pairs] times packed [n_pairs][panel]; `fresh`: what was there
/// does not count
inline void multiply_rows(const std::uint16_t* x, std::int64_t x_stride, std::int64_t n_rows,
                          const std::uint32_t* packed, std::int64_t n_pairs, bool fresh, float* sums) {
  constexpr int most_rows = 12;  // two sums each, of 32 registers
  std::int64_t i = 0;
  for (; i + most_rows <= n_rows; i += most_rows) {
    multiply_pairs<most_rows>(x + i * x_stride, x_stride, packed, n_pairs, fresh, sums + i * panel);
  }
  for (; i + 4 <= n_rows; i += 4) {
    multiply_pairs<4>(x + i * x_stride, x_stride, packed, n_pairs, fresh, sums + i * panel);
  }
  for (; i < n_rows; ++i) {
    multiply_pairs<1>(x + i * x_stride, x_stride, packed, n_pairs, fresh, sums + i * panel);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
