// Rows of x in BF16 times a packed panel, with AMX (TDPBF16PS).
#pragma once

#include "kernels/cpu/tiles_amx.h"

namespace galago::kernels::GALAGO_ISA {

/// Adds the products of all of n_pairs, a multiple of n_quads, to the sums of up to block_rows rows, or to 0
/// where those are to be `fresh`. A pair is four bytes, a quad.
GALAGO_INLINE void multiply_block(const std::uint16_t* x, std::int64_t x_stride, std::int64_t n_rows,
                                  const std::uint32_t* packed, std::int64_t n_pairs, std::int64_t n_quads,
                                  bool fresh, float* sums) {
  const bool both = n_rows > tile_rows;
  fresh ? clear_sums(both) : load_sums(sums, both);
  for (std::int64_t pair = 0; pair < n_pairs; pair += n_quads) {
    load_factors(packed + pair * panel, x + 2 * pair, x_stride * 2, both);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (!both) continue;
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  store_sums(sums, both);
}

/// sums [n_rows][panel] += x [n_rows, 2 * n_pairs] times packed [n_pairs][panel]; `fresh`: what was there
/// does not count
inline void multiply_rows(const std::uint16_t* x, std::int64_t x_stride, std::int64_t n_rows,
                          const std::uint32_t* packed, std::int64_t n_pairs, bool fresh, float* sums) {
  const std::int64_t whole = n_pairs / tile_quads * tile_quads;
  const auto multiply_all = [&](std::int64_t first, std::int64_t count, std::int64_t n_quads) {
    for_row_blocks(n_rows, n_quads, [&](std::int64_t row, std::int64_t rows) {
      multiply_block(x + row * x_stride + 2 * first, x_stride, rows, packed + first * panel, count, n_quads,
                     fresh && first == 0, sums + row * panel);
    });
  };
  if (whole > 0) multiply_all(0, whole, tile_quads);
  if (n_pairs > whole) multiply_all(whole, n_pairs - whole, n_pairs - whole);
}

}  // namespace galago::kernels::GALAGO_ISA
