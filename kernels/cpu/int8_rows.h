// Rows of x in int8 times a packed panel, in vector registers.
#pragma once

#include "kernels/cpu/int8_panel.h"

namespace galago::kernels::GALAGO_ISA {

/// sums [rows][panel] += rows of x, from row `row` and chunk `first` on, times the panel
template <int bits, int parts, int rows>
void multiply_tile(const Int8Rows& x, std::int64_t row, std::int64_t first, std::int64_t n_chunks,
                   const PackedPanel<bits, parts>& packed, float* sums) {
  constexpr int quads = 8 / parts;
  const std::int64_t x_chunks = x.stride / chunk;
  const std::int8_t* quants = x.quants + row * x.stride + first * chunk;
  Vec totals[rows][2];
  for (int i = 0; i < rows; ++i) {
    totals[i][0] = load(sums + i * panel);
    totals[i][1] = load(sums + i * panel + width);
  }
  for (std::int64_t at = 0; at < n_chunks * parts; ++at) {
    decltype(zero_quads()) products[rows][2];
    for (auto& pair : products) pair[0] = pair[1] = zero_quads();
    const std::uint8_t* w = packed.quants + (at / parts * 8 + at % parts * quads) * panel * 4;
    const std::int8_t* left = quants + at * (chunk / parts);
#pragma GCC unroll 8
    for (int quad = 0; quad < quads; ++quad) {
      const Quads w0 = load_quads(w + quad * panel * 4);
      const Quads w1 = load_quads(w + (quad * panel + width) * 4);
      for (int i = 0; i < rows; ++i) {
        std::int32_t four;
        memcpy(&four, left + i * x.stride + quad * 4, 4);
        const Quads value = broadcast_quad(four);
        products[i][0] = accumulate(products[i][0], w0, value);
        products[i][1] = accumulate(products[i][1], w1, value);
      }
    }
    for (int half = 0; half < 2; ++half) {
      const Vec scale = load(packed.scales + at * panel + half * width);
      const Vec offset = load(packed.offsets + at * panel + half * width);
      for (int i = 0; i < rows; ++i) {
        const Vec x_scale = set1(x.scales[(row + i) * x_chunks + first + at / parts]);
        const Vec x_sum = set1(x.sums[((row + i) * x_chunks + first) * parts + at]);
        totals[i][half] =
            fma(offset, x_sum, fma(mul(scale, x_scale), to_floats(products[i][half]), totals[i][half]));
      }
    }
  }
  for (int i = 0; i < rows; ++i) {
    store(sums + i * panel, totals[i][0]);
    store(sums + i * panel + width, totals[i][1]);
  }
}

/// sums [n_rows][panel] += rows of x, from row `row` and chunk `first` on, times the panel
template <int bits, int parts>
void multiply_rows(const Int8Rows& x, std::int64_t row, std::int64_t n_rows, std::int64_t first,
                   std::int64_t n_chunks, const PackedPanel<bits, parts>& packed, float* sums) {
  constexpr int rows = int8_rows_at_once;
  std::int64_t i = 0;
  for (; i + rows <= n_rows; i += rows) {
    multiply_tile<bits, parts, rows>(x, row + i, first, n_chunks, packed, sums + i * panel);
  }
  for (; i < n_rows; ++i) {
    multiply_tile<bits, parts, 1>(x, row + i, first, n_chunks, packed, sums + i * panel);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
