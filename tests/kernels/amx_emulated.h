// AMX's tiles in plain C++, as avx512_emulated.h has the vectors. What the processor would refuse ends the
// program: tiles that are not laid out, or too large, and products of shapes that do not fit.
#pragma once
#pragma GCC system_header  // the names are macros already

#include <stdio.h>
#include <stdlib.h>

#include "avx512_emulated.h"

namespace galago_emulated {

struct TileRegisters {
  struct Layout {
    std::uint8_t palette, start_row, reserved[14];
    std::uint16_t row_bytes[16];
    std::uint8_t rows[16];
  } layout;
  std::uint8_t data[8][16][64];
};
static_assert(sizeof(TileRegisters::Layout) == 64);

inline thread_local TileRegisters tile_registers;

inline void demand(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "emulated AMX: %s\n", what);
  abort();
}
inline void tile_release() {
  memset(&tile_registers, 0, sizeof tile_registers);
}
inline void tile_loadconfig(const void* layout) {
  tile_release();
  memcpy(&tile_registers.layout, layout, sizeof tile_registers.layout);
  demand(tile_registers.layout.palette == 1 && tile_registers.layout.start_row == 0, "unknown palette");
  for (int tile = 0; tile < 8; ++tile) {
    demand(tile_registers.layout.rows[tile] <= 16 && tile_registers.layout.row_bytes[tile] <= 64,
           "large tile");
  }
}
inline int rows_of(int tile) {
  demand(tile_registers.layout.rows[tile] != 0 && tile_registers.layout.row_bytes[tile] != 0, "no such tile");
  return tile_registers.layout.rows[tile];
}
inline int row_bytes_of(int tile) {
  return tile_registers.layout.row_bytes[tile];
}
inline void tile_zero(int tile) {
  rows_of(tile);
  memset(tile_registers.data[tile], 0, sizeof tile_registers.data[tile]);
}
inline void tile_load(int tile, const void* from, std::int64_t stride) {
  tile_zero(tile);
  for (int i = 0; i < rows_of(tile); ++i) {
    memcpy(tile_registers.data[tile][i], static_cast<const char*>(from) + i * stride,
           static_cast<std::size_t>(row_bytes_of(tile)));
  }
}
inline void tile_store(int tile, void* to, std::int64_t stride) {
  for (int i = 0; i < rows_of(tile); ++i) {
    memcpy(static_cast<char*>(to) + i * stride, tile_registers.data[tile][i],
           static_cast<std::size_t>(row_bytes_of(tile)));
  }
}

/// sums += a b: add(sum, quad of a, quad of b) for each quad of k.
template <class Sum, class Add>
inline void tile_multiply(int sums, int a, int b, Add add) {
  const int quads = row_bytes_of(a) / 4;
  demand(rows_of(sums) == rows_of(a) && quads == rows_of(b) && row_bytes_of(sums) == row_bytes_of(b),
         "shapes do not fit");
  for (int i = 0; i < rows_of(sums); ++i) {
    for (int quad = 0; quad < quads; ++quad) {
      for (int j = 0; j < row_bytes_of(sums) / 4; ++j) {
        Sum sum;
        std::uint8_t* at = tile_registers.data[sums][i] + 4 * j;
        memcpy(&sum, at, 4);
        add(sum, tile_registers.data[a][i] + 4 * quad, tile_registers.data[b][quad] + 4 * j);
        memcpy(at, &sum, 4);
      }
    }
  }
}
/// TDPBSUD: signed bytes times unsigned ones.
inline void tile_dpbsud(int sums, int a, int b) {
  tile_multiply<std::int32_t>(sums, a, b,
                              [](std::int32_t& sum, const std::uint8_t* x, const std::uint8_t* w) {
                                for (int i = 0; i < 4; ++i) sum += static_cast<std::int8_t>(x[i]) * w[i];
                              });
}
/// TDPBF16PS: two products of neighbours.
inline void tile_dpbf16ps(int sums, int a, int b) {
  tile_multiply<float>(sums, a, b, [](float& sum, const std::uint8_t* x, const std::uint8_t* w) {
    std::uint16_t left[2], right[2];
    memcpy(left, x, 4);
    memcpy(right, w, 4);
    for (int i = 0; i < 2; ++i) sum += bf16_to_float(left[i]) * bf16_to_float(right[i]);
  });
}

}  // namespace galago_emulated

#define _tile_dpbf16ps(sums, a, b) galago_emulated::tile_dpbf16ps(sums, a, b)
#define _tile_dpbsud(sums, a, b) galago_emulated::tile_dpbsud(sums, a, b)
#define _tile_loadconfig(layout) galago_emulated::tile_loadconfig(layout)
#define _tile_loadd(tile, from, stride) galago_emulated::tile_load(tile, from, stride)
#define _tile_release() galago_emulated::tile_release()
#define _tile_stored(tile, to, stride) galago_emulated::tile_store(tile, to, stride)
#define _tile_zero(tile) galago_emulated::tile_zero(tile)
