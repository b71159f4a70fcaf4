// Grouped weights as products with int8 activations read them: a row's scales and offsets, and panels of rows
// laid out for quads of k.
#pragma once

#include <string.h>

#include "kernels/cpu/group_numbers.h"
#include "kernels/cpu/weight_rows.h"

#if defined(GALAGO_AVX2) || defined(GALAGO_AVX512)
#include "kernels/cpu/int8_x86.h"
#else
#include "kernels/cpu/int8_portable.h"
#endif

namespace galago::kernels::GALAGO_ISA {

inline constexpr std::int64_t chunk = 32;
inline constexpr std::int64_t block_chunks = depth_block / chunk;

/// Which quant stands for 0 where a format has no offset: its `none` is from -8 to 7, stored from 0 to 15.
constexpr float middle(int bits) {
  return bits == 4 ? 8.0F : 0.0F;
}

/// A weight row's scales and offsets.
template <int bits, int parts>
struct GroupValues {
  const GroupedRows& format;
  int shift;  // a chunk's group is chunk >> shift

  explicit GroupValues(const GroupedRows& rows)
      : format(rows),
        shift(rows.group == 128  ? 2
              : rows.group == 64 ? 1
                                 : 0) {}

  /// Of part `index` of the row: parts are chunks, or halves of chunks.
  std::int64_t group_of(std::int64_t index) const { return parts == 2 ? index : index >> shift; }
  float scale(const std::uint8_t* row, std::int64_t index) const {
    return number_at(row + format.scales_at, format.scale, group_of(index));
  }
  float offset(const std::uint8_t* row, std::int64_t index, float scale) const {
    switch (format.offset) {
      case GroupOffset::minimum:
        return number_at(row + format.offsets_at, format.scale, group_of(index));
      case GroupOffset::zero_point:
        return -scale * static_cast<float>(
                            reinterpret_cast<const std::int8_t*>(row + format.offsets_at)[group_of(index)]);
      case GroupOffset::none:
        break;
    }
    return -scale * middle(bits);
  }

  /// scales [count] = the row's scales of parts [first, first + count) times x's; returns the sum of offsets
  /// times x's sums.
  float prepare(const std::uint8_t* row, std::int64_t first, std::int64_t count, const float* x_scales,
                const float* x_sums, float* scales) const {
    std::int64_t i = 0;
    Vec total = set1(0);
    if (parts == 1 && shift == 0 && format.offset != GroupOffset::zero_point) {
      for (; i + width <= count; i += width) {
        const Vec own = numbers_at(row + format.scales_at, format.scale, first + i);
        store(scales + i, mul(own, load(x_scales + i)));
        const Vec offsets = format.offset == GroupOffset::minimum
                                ? numbers_at(row + format.offsets_at, format.scale, first + i)
                                : mul(own, set1(-middle(bits)));
        total = fma(offsets, load(x_sums + i), total);
      }
    }
    float rest = 0;
    for (; i < count; ++i) {
      const float own = scale(row, first + i);
      scales[i] = own * x_scales[i / parts];
      rest += offset(row, first + i, own) * x_sums[i];
    }
    return sum(total) + rest;
  }
};

/// Parts that a row of k has: a last half chunk may be missing.
template <int parts>
std::int64_t parts_of(std::int64_t k) {
  return (k + chunk / parts - 1) / (chunk / parts);
}

/// A panel of weight rows for a block of k, laid out for quads of k.
template <int bits, int parts>
struct PackedPanel {
  std::uint8_t* quants;  // [chunk][quad of 8][panel][4]
  float* scales;         // [part][panel]
  float* offsets;        // [part][panel]

  explicit PackedPanel(float* memory)
      : quants(reinterpret_cast<std::uint8_t*>(memory)),
        scales(memory + block_chunks * chunk * panel / 4),
        offsets(scales + block_chunks * parts * panel) {
    static_assert(block_chunks * (chunk / 4 + 2 * parts) <= depth_block);
  }

  void pack_numbers(const GroupValues<bits, parts>& values, const std::uint8_t* row, std::int64_t j,
                    std::int64_t first_part, std::int64_t n_parts) const {
    for (std::int64_t i = 0; i < n_parts; ++i) {
      const float scale = values.scale(row, first_part + i);
      scales[i * panel + j] = scale;
      // Quants of 8 bits are made unsigned by adding 128.
      offsets[i * panel + j] = values.offset(row, first_part + i, scale) - (bits == 8 ? 128 * scale : 0);
    }
    if (n_parts % parts != 0) scales[n_parts * panel + j] = offsets[n_parts * panel + j] = 0;
  }

  /// Quants of the rows [j, j + n_rows), n_rows up to transposed_rows and the first at `row`; missing ones
  /// are 0.
  void pack_quants(const std::uint8_t* row, std::int64_t row_bytes, std::int64_t j, std::int64_t n_rows,
                   std::int64_t n_chunks) const {
    constexpr std::int64_t chunk_bytes = bits * chunk / 8;
    for (std::int64_t i = 0; i < n_chunks; ++i) {
      std::uint8_t* to = quants + (i * 8 * panel + j) * 4;
      transpose_quads<PanelQuants<bits>>(row + i * chunk_bytes, row_bytes, n_rows, to, panel * 4);
    }
  }

  void clear_numbers(std::int64_t j, std::int64_t n_chunks) const {
    for (std::int64_t i = 0; i < n_chunks * parts; ++i) scales[i * panel + j] = offsets[i * panel + j] = 0;
  }
};

}  // namespace galago::kernels::GALAGO_ISA
