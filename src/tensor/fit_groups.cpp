#include "tensor/fit_groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago {
namespace {

constexpr float highest_quant = 15;

// Of the range between the least and the largest value: values beyond are cut, the others get finer steps.
// Lines through the quants of these begin from there; more starts gain little.
constexpr std::array<float, 3> starts{1.0F, 0.92F, 0.84F};

/// w = scale q + minimum
struct Line {
  float scale;
  float minimum;
};

/// As the record will give it back.
Line rounded(const Grouped& format, Line line) {
  if (format.scale != DType::f16) return line;
  return {f16_to_f32(f32_to_f16(line.scale)), f16_to_f32(f32_to_f16(line.minimum))};
}

/// Nearest whole number, for numbers from 0 to 15: the sum's fraction has no bits left.
float nearest(float value) {
  constexpr float shift = 12582912.0F;  // 1.5 * 2^23
  return value + shift - shift;
}

void quantise(std::span<const float> group, Line line, std::span<float> quants) {
  const float inverse = line.scale == 0 ? 0 : 1 / line.scale;
  for (std::size_t i = 0; i < group.size(); ++i) {
    quants[i] = nearest(std::min(std::max((group[i] - line.minimum) * inverse, 0.0F), highest_quant));
  }
}

float squared_error(std::span<const float> group, Line line, std::span<const float> quants) {
  float sum = 0;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const float error = line.scale * quants[i] + line.minimum - group[i];
    sum += error * error;
  }
  return sum;
}

/// The line with the least squared error for these quants, if 0 is to be `zero`; `fallback` where all are
/// that.
Line line_through(std::span<const float> group, std::span<const float> quants, float zero, Line fallback) {
  float qq = 0, qw = 0;
  for (std::size_t i = 0; i < group.size(); ++i) {
    qq += (quants[i] - zero) * (quants[i] - zero);
    qw += (quants[i] - zero) * group[i];
  }
  if (!(qq > 0)) return fallback;
  return {qw / qq, -zero * (qw / qq)};
}

struct Fit {
  Line line;
  float error;
};

Fit fit_of(const Grouped& format, std::span<const float> group, Line line, std::span<float> quants) {
  const Line stored = rounded(format, line);
  quantise(group, stored, quants);
  return {stored, squared_error(group, stored, quants)};
}

/// The best of lines on which 0 is one of the values: weights near 0 meet the largest activations, and half a
/// step there costs more than anywhere else. Only where values lie on another grid already is that one taken.
Line choose_line(const Grouped& format, std::span<const float> group, std::span<float> quants) {
  constexpr float on_another_grid = 0.1F;  // of the error
  const auto [lowest, highest] = std::minmax_element(group.begin(), group.end());
  const Fit whole = fit_of(format, group, {(*highest - *lowest) / highest_quant, *lowest}, quants);
  const float least = std::min(*lowest, 0.0F);
  const float range = std::max(*highest, 0.0F) - least;
  Fit best = whole;
  bool is_first = true;
  for (const float part : starts) {
    for (const float shift : {-0.5F, 0.5F}) {
      const float scale = range * part / highest_quant;
      if (!(scale > 0)) continue;
      const float zero =
          nearest(std::min(std::max(7.5F + shift + (-least - range / 2) / scale, 0.0F), highest_quant));
      const Line start{scale, -zero * scale};
      quantise(group, start, quants);
      const Fit fit = fit_of(format, group, line_through(group, quants, zero, start), quants);
      if (!is_first && !(fit.error < best.error)) continue;
      best = fit;
      is_first = false;
    }
  }
  const Line line =
      whole.error <= on_another_grid * best.error || !std::isfinite(best.line.scale) ? whole.line : best.line;
  quantise(group, line, quants);
  return line;
}

}  // namespace

bool encode_weights(const Grouped& format, std::span<const float> row, std::span<std::byte> to) {
  if (format.bits != 4 || format.offset != GroupOffset::minimum) return encode_row(format, row, to);
  const auto cols = static_cast<std::int64_t>(row.size());
  GroupedRow record(format, cols, to);
  std::vector<float> quants(static_cast<std::size_t>(format.group));
  for (std::int64_t first = 0; first < cols; first += format.group) {
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(format.group, cols - first));
    const std::span<const float> group = row.subspan(static_cast<std::size_t>(first), count);
    if (!std::all_of(group.begin(), group.end(), [](float value) { return std::isfinite(value); }))
      return false;
    const Line line = choose_line(format, group, std::span(quants).first(count));
    if (!std::isfinite(line.scale) || !std::isfinite(line.minimum)) return false;
    record.put_scale(first / format.group, line.scale);
    record.put_minimum(first / format.group, line.minimum);
    for (std::size_t i = 0; i < count; ++i) {
      // A scale that is all but 0 may have an infinite inverse, and a quant be no number.
      const int quant = quants[i] >= 0 ? static_cast<int>(quants[i]) : 0;
      record.put_quant(first + static_cast<std::int64_t>(i), quant);
    }
  }
  return true;
}

}  // namespace galago
