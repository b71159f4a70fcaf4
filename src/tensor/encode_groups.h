// The loop that rounds a row to groups, however a group's scale is chosen. Internal to src/tensor.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
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
template <class Number>  // a float, or a vector of them
Number nearest(Number value) {
  constexpr float shift = 12582912.0F;  // 1.5 * 2^23
  return value + shift - shift;
}

// The loops below go over eight numbers at once, without branches, so that compilers make vectors of them.
constexpr std::size_t lanes = 8;

inline bool all_finite(std::span<const float> group) {
  constexpr std::int32_t infinity = 0x7F80'0000;
  std::int32_t largest = 0;
  for (const float value : group) {
    const auto magnitude = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(value) & 0x7FFF'FFFFU);
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest < infinity;
}

struct Extremes {
  float lowest;
  float highest;
};

/// As std::minmax_element() finds them: of equal ones, which zeros of either sign are, the first and the
/// last.
inline Extremes extremes_of(std::span<const float> group) {
  std::array<float, lanes> low{}, high{};
  low.fill(group.front());
  high.fill(group.front());
  std::size_t i = 0;
  for (; i + lanes <= group.size(); i += lanes) {
    for (std::size_t j = 0; j < lanes; ++j) {
      const float value = group[i + j];
      low[j] = value < low[j] ? value : low[j];
      high[j] = value > high[j] ? value : high[j];
    }
  }
  for (; i < group.size(); ++i) {
    low[0] = std::min(low[0], group[i]);
    high[0] = std::max(high[0], group[i]);
  }
  Extremes extremes{*std::min_element(low.begin(), low.end()), *std::max_element(high.begin(), high.end())};
  if (extremes.lowest == 0) extremes.lowest = *std::find(group.begin(), group.end(), 0.0F);
  if (extremes.highest == 0) extremes.highest = *std::find(group.rbegin(), group.rend(), 0.0F);
  return extremes;
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
  GroupedRow record(format, cols, to);
  GroupQuants quants;
  std::array<std::int8_t, most_group_elements> whole;
  for (std::int64_t first = 0; first < cols; first += format.group) {
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(format.group, cols - first));
    const std::span<const float> group = row.subspan(static_cast<std::size_t>(first), count);
    if (!all_finite(group)) return false;
    const GroupValues values = choose(group);
    if (!std::isfinite(values.scale) || !std::isfinite(values.minimum)) return false;
    record.put_scale(first / format.group, values.scale);
    if (format.offset == GroupOffset::minimum) record.put_minimum(first / format.group, values.minimum);
    quantise(group, values, range, quants);
    for (std::size_t i = 0; i < count; ++i) {
      const float quant = quants[i] >= range.lowest ? quants[i] : range.lowest;
      whole[i] = static_cast<std::int8_t>(static_cast<std::int32_t>(quant));
    }
    record.put_quants(first, std::span(whole).first(count));
  }
  return true;
}

}  // namespace galago
