// Rows of x in int8 times a packed panel, with AMX (TDPBSUD): the whole numbers of a group are summed in
// tiles, which hold as much of k as has one scale.
#pragma once

#include "kernels/cpu/int8_panel.h"
#include "kernels/cpu/tiles_amx.h"

namespace galago::kernels::GALAGO_ISA {

/// sums [n_rows][panel] += products [n_rows][panel] of part `at` of the panel, scaled, and the offsets'
/// share. `row` and `first` of x as in multiply_rows.
template <int bits, int parts>
void add_scaled_products(const Int8Rows& x, std::int64_t row, std::int64_t n_rows, std::int64_t first,
                         std::int64_t at, const PackedPanel<bits, parts>& packed,
                         const std::uint32_t* products, float* sums) {
  const std::int64_t x_chunks = x.stride / chunk;
  for (std::int64_t j = 0; j < panel; j += width) {
    const Vec scale = load(packed.scales + at * panel + j);
    const Vec offset = load(packed.offsets + at * panel + j);
    for (std::int64_t i = 0; i < n_rows; ++i) {
      const Vec x_scale = set1(x.scales[(row + i) * x_chunks + first + at / parts]);
      const Vec x_sum = set1(x.sums[((row + i) * x_chunks + first) * parts + at]);
      const Quads whole = load_quads(reinterpret_cast<const std::uint8_t*>(products + i * panel + j));
      float* to = sums + i * panel + j;
      store(to, fma(offset, x_sum, fma(mul(scale, x_scale), to_floats(whole), load(to))));
    }
  }
}

/// sums [n_rows][panel] += rows of x, from row `row` and chunk `first` on, times the panel
template <int bits, int parts>
void multiply_rows(const Int8Rows& x, std::int64_t row, std::int64_t n_rows, std::int64_t first,
                   std::int64_t n_chunks, const PackedPanel<bits, parts>& packed, float* sums) {
  constexpr std::int64_t quads = 8 / parts;
  std::uint32_t products[block_rows * panel];
  finish_stores(packed.quants);
  for_row_blocks(n_rows, quads, [&](std::int64_t block, std::int64_t count) {
    const bool both = count > tile_rows;
    const std::int8_t* from = x.quants + (row + block) * x.stride + first * chunk;
    for (std::int64_t at = 0; at < n_chunks * parts; ++at) {
      load_factors(packed.quants + (at / parts * 8 + at % parts * quads) * panel_bytes,
                   from + at * (chunk / parts), x.stride, both);
      clear_sums(both);
      _tile_dpbsud(0, 4, 6);
      _tile_dpbsud(1, 4, 7);
      if (both) {
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
      }
      store_sums(products, both);
      add_scaled_products(x, row + block, count, first, at, packed, products, sums + block * panel);
    }
  });
}

}  // namespace galago::kernels::GALAGO_ISA
