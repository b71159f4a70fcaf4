// The loop that rounds a row to groups, however a group's scale is chosen. Internal to src/tensor.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>

#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago {

/// What a row's record says about one group: w = scale * (q - zero) + minimum.
struct GroupValues {
  float scale = 0;
  int zero = 0;
  float minimum = 0;
};

/// Of quants as GroupOffset counts them.
struct QuantRange {
  float lowest;
  float highest;
};

inline QuantRange range_of(const Grouped& format) {
  if (format.bits == 8) return {-128, 127};
  return format.offset == GroupOffset::none ? QuantRange{-8, 7} : QuantRange{0, 15};
}

/// The value as the scale's type will give it back.
inline float rounded(const Grouped& format, float value) {
  return format.scale == DType::f16 ? f16_to_f32(f32_to_f16(value)) : value;
}

/// Nearest whole number, of two the even one, for numbers below 2^21: the sum's fraction has no bits left.
inline float nearest(float value) {
  constexpr float shift = 12582912.0F;  // 1.5 * 2^23
  return value + shift - shift;
}

constexpr std::size_t most_group_elements = 128;
using GroupQuants = std::array<float, most_group_elements>;

/// The nearest quants, of formats without zero points. A scale that is all but 0 may have an infinite
/// inverse, and a quant be no number.
inline void quantise(std::span<const float> group, const GroupValues& values, QuantRange range,
                     GroupQuants& quants) {
  const float inverse = values.scale == 0 ? 0 : 1 / values.scale;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const float quant = (group[i] - values.minimum) * inverse;
    quants[i] = nearest(std::min(std::max(quant, range.lowest), range.highest));
  }
}

/// Writes a row's record; choose(group) gives each group's values, as the record holds them, for its finite
/// numbers. False where a group cannot be held.
template <class Choose>
bool encode_groups(const Grouped& format, std::span<const float> row, std::span<std::byte> to,
                   const Choose& choose) {
  const auto cols = static_cast<std::int64_t>(row.size());
  const QuantRange range = range_of(format);
  const auto is_finite = [](float value) { return std::isfinite(value); };
  GroupedRow record(format, cols, to);
  GroupQuants quants;
  for (std::int64_t first = 0; first < cols; first += format.group) {
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(format.group, cols - first));
    const std::span<const float> group = row.subspan(static_cast<std::size_t>(first), count);
    if (!std::all_of(group.begin(), group.end(), is_finite)) return false;
    const GroupValues values = choose(group);
    if (!is_finite(values.scale) || !is_finite(values.minimum)) return false;
    record.put_scale(first / format.group, values.scale);
    if (format.offset == GroupOffset::minimum) record.put_minimum(first / format.group, values.minimum);
    quantise(group, values, range, quants);
    for (std::size_t i = 0; i < count; ++i) {
      const float quant = quants[i] >= range.lowest ? quants[i] : range.lowest;
      record.put_quant(first + static_cast<std::int64_t>(i), static_cast<int>(quant));
    }
  }
  return true;
}

}  // namespace galago
