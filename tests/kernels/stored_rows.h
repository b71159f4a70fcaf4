// Weights in every grouped format, for kernel tests.
#pragma once

#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "support/random.h"
#include "tensor/grouped.h"

namespace galago::testing {

inline constexpr auto none = GroupOffset::none;
inline constexpr auto minimum = GroupOffset::minimum;
inline constexpr auto zero_point = GroupOffset::zero_point;

inline std::vector<Grouped> every_format() {
  std::vector<Grouped> formats;
  for (const std::uint8_t bits : {4, 8}) {
    for (const std::int32_t group : {16, 32, 64, 128}) {
      for (const GroupOffset offset : {none, minimum, zero_point}) {
        formats.push_back({bits, group, group == 32 ? DType::f32 : DType::f16, offset});
      }
    }
  }
  formats.push_back({4, 64, DType::f32, none, Codebook::nf4});
  formats.push_back({4, 16, DType::f32, none, Codebook::nf4});
  formats.push_back({4, 32, DType::f16, none, Codebook::iq4_nl});
  return formats;
}

/// Rows of arbitrary quants, and the values that they stand for (all below 1).
struct StoredRows {
  StoredRows(const Grouped& format, std::int64_t n, std::int64_t k, std::uint32_t seed)
      : row_bytes(layout_of(format, k).row_bytes),
        bytes(static_cast<std::size_t>(n) * row_bytes),
        values(random_floats(static_cast<std::size_t>(n * k), seed)) {
    const bool from_zero = format.bits == 4 && (format.offset != none || format.codebook != Codebook::none);
    const float range = format.bits == 8 ? 127 : 7;
    const float unit = format.codebook == Codebook::nf4      ? 0.5F
                       : format.codebook == Codebook::iq4_nl ? 128
                                                             : range;
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(j);
      const std::span<std::byte> record(bytes.data() + at * row_bytes, row_bytes);
      const std::span<float> row(values.data() + at * static_cast<std::size_t>(k),
                                 static_cast<std::size_t>(k));
      GroupedRow to(format, k, record);
      for (std::int64_t i = 0; i < k; ++i) {
        const int quant = static_cast<int>(std::lround(row[static_cast<std::size_t>(i)] * range));
        to.put_quant(i, from_zero ? quant + 8 : quant);
      }
      for (std::int64_t g = 0; g * format.group < k; ++g) {
        const float share = 0.3F + 0.1F * static_cast<float>((g + j) % 4);
        to.put_scale(g, share / unit);
        if (format.offset == minimum) to.put_minimum(g, 0.05F * static_cast<float>(g % 3) - 0.5F);
        if (format.offset == zero_point) to.put_zero(g, static_cast<int>((3 * g + j) % 17));
      }
      decode_row(format, record, row);
    }
  }
  Bytes row_bytes;
  std::vector<std::byte> bytes;
  std::vector<float> values;
};

}  // namespace galago::testing
