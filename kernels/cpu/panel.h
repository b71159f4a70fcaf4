// Register tiles: x times a panel of transposed weight rows (Goto and van de Geijn, 2008).
#pragma once

#include "kernels/cpu/weight_rows.h"

namespace galago::kernels::GALAGO_ISA {

/// sums [rows][panel] += x [rows, depth] * packed [depth][panel]
template <int rows>
void multiply_tile(const float* x, std::int64_t x_stride, const float* packed, std::int64_t depth,
                   float* sums) {
  Vec left[rows];
  Vec right[rows];
  for (int i = 0; i < rows; ++i) {
    left[i] = load(sums + i * panel);
    right[i] = load(sums + i * panel + width);
  }
  for (std::int64_t d = 0; d < depth; ++d) {
    const Vec w0 = load(packed + d * panel);
    const Vec w1 = load(packed + d * panel + width);
    for (int i = 0; i < rows; ++i) {
      const Vec value = set1(x[i * x_stride + d]);
      left[i] = fma(value, w0, left[i]);
      right[i] = fma(value, w1, right[i]);
    }
  }
  for (int i = 0; i < rows; ++i) {
    store(sums + i * panel, left[i]);
    store(sums + i * panel + width, right[i]);
  }
}

GALAGO_INLINE void multiply_panel(const float* x, std::int64_t x_stride, std::int64_t n_rows,
                                  const float* packed, std::int64_t depth, float* sums) {
  std::int64_t i = 0;
  for (; i + micro_rows <= n_rows; i += micro_rows) {
    multiply_tile<micro_rows>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
  }
  for (; i + 2 <= n_rows; i += 2)
    multiply_tile<2>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
  if (i < n_rows) multiply_tile<1>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
}

}  // namespace galago::kernels::GALAGO_ISA
