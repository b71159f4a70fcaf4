// Matrices of up to 16 rows of 64 bytes in AMX's tile registers: how they are laid out for the products of up
// to 32 rows of x with a panel of 32 columns.
//
// Tiles 0 to 3 hold sums [16, 16] of 32 bits: of the first rows and of the last, left and right half of the
// panel each. Tiles 4 and 5 hold the rows of x, 6 and 7 the halves of the panel, in quads of bytes: [quads of
// k, 16 columns, 4 bytes], as VPDPBUSD and VDPBF16PS want it, too.
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/cpu/weight_rows.h"

namespace galago::kernels::GALAGO_ISA {

inline constexpr std::int64_t tile_rows = 16;
inline constexpr std::int64_t tile_quads = 16;             // of k at once: 64 bytes
inline constexpr std::int64_t block_rows = 2 * tile_rows;  // of x
inline constexpr std::int64_t panel_bytes = panel * 4;     // from quad to quad
static_assert(panel == 32);

/// What LDTILECFG reads (Intel's manual, volume 1, section 18.2).
struct TileLayout {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileLayout) == 64);

/// The intrinsics' own constraints do not tell compilers which memory tiles are loaded from: what was stored
/// at `from`, and behind every other known pointer, must be there.
GALAGO_INLINE void finish_stores(const void* from) {
  __asm__ volatile("" : : "r"(from) : "memory");
}

/// Tiles for `n_rows` rows of x, 1 to block_rows, and `n_quads` quads of k. Clears the tiles.
GALAGO_INLINE void lay_out_tiles(std::int64_t n_rows, std::int64_t n_quads) {
  TileLayout layout;
  const std::int64_t first = n_rows < tile_rows ? n_rows : tile_rows;
  const std::int64_t last = n_rows > tile_rows ? n_rows - tile_rows : first;
  const std::int64_t rows[8] = {first, first, last, last, first, last, n_quads, n_quads};
  for (int tile = 0; tile < 8; ++tile) {
    const bool of_x = tile == 4 || tile == 5;
    layout.rows[tile] = static_cast<std::uint8_t>(rows[tile]);
    layout.row_bytes[tile] = static_cast<std::uint16_t>(4 * (of_x ? n_quads : tile_rows));
  }
  finish_stores(&layout);
  _tile_loadconfig(&layout);
}

/// Calls multiply(row, n_rows) for blocks of rows, with tiles laid out for each and n_quads, and leaves the
/// tiles released: the operating system need not save them then.
template <class Multiply>
GALAGO_INLINE void for_row_blocks(std::int64_t n_rows, std::int64_t n_quads, Multiply&& multiply) {
  std::int64_t laid_out = 0;
  for (std::int64_t row = 0; row < n_rows; row += block_rows) {
    const std::int64_t count = n_rows - row < block_rows ? n_rows - row : block_rows;
    if (count != laid_out) lay_out_tiles(count, n_quads);
    laid_out = count;
    multiply(row, count);
  }
  _tile_release();
}

/// The tiles of sums from or to memory: [n_rows][panel] of 32 bits.
GALAGO_INLINE void load_sums(const float* sums, bool both) {
  finish_stores(sums);
  _tile_loadd(0, sums, panel_bytes);
  _tile_loadd(1, sums + tile_rows, panel_bytes);
  if (!both) return;
  _tile_loadd(2, sums + tile_rows * panel, panel_bytes);
  _tile_loadd(3, sums + tile_rows * panel + tile_rows, panel_bytes);
}
GALAGO_INLINE void clear_sums(bool both) {
  _tile_zero(0);
  _tile_zero(1);
  if (!both) return;
  _tile_zero(2);
  _tile_zero(3);
}
template <class Number>
GALAGO_INLINE void store_sums(Number* sums, bool both) {
  _tile_stored(0, sums, panel_bytes);
  _tile_stored(1, sums + tile_rows, panel_bytes);
  if (!both) return;
  _tile_stored(2, sums + tile_rows * panel, panel_bytes);
  _tile_stored(3, sums + tile_rows * panel + tile_rows, panel_bytes);
}

/// The tiles of a panel's quads at `w`, and of rows of x.
GALAGO_INLINE void load_factors(const void* w, const void* x, std::int64_t x_row_bytes, bool both) {
  const auto* quads = static_cast<const std::uint8_t*>(w);
  const auto* rows = static_cast<const std::uint8_t*>(x);
  _tile_loadd(6, quads, panel_bytes);
  _tile_loadd(7, quads + panel_bytes / 2, panel_bytes);
  _tile_loadd(4, rows, x_row_bytes);
  if (both) _tile_loadd(5, rows + tile_rows * x_row_bytes, x_row_bytes);
}

}  // namespace galago::kernels::GALAGO_ISA
