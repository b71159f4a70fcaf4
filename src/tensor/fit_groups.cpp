#include "tensor/fit_groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tensor/encode_groups.h"

namespace galago {
namespace {

constexpr float highest_quant = 15;

// Of the range between the least and the largest value: values beyond are cut, the others get finer steps.
// Lines through the quants of these begin from there; more starts gain little.
constexpr std::array<float, 3> starts{1.0F, 0.92F, 0.84F};

/// As the record will give it back.
GroupValues stored(const Grouped& format, const GroupValues& line) {
  return {rounded(format, line.scale), 0, rounded(format, line.minimum)};
}

float squared_error(std::span<const float> group, const GroupValues& line, const GroupQuants& quants) {
  float sum = 0;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const float error = line.scale * quants[i] + line.minimum - group[i];
    sum += error * error;
  }
  return sum;
}

/// The line with the least squared error for these quants, if 0 is to be `zero`; `fallback` where all are
/// that.
GroupValues line_through(std::span<const float> group, const GroupQuants& quants, float zero,
                         const GroupValues& fallback) {
  float qq = 0, qw = 0;
  for (std::size_t i = 0; i < group.size(); ++i) {
    qq += (quants[i] - zero) * (quants[i] - zero);
    qw += (quants[i] - zero) * group[i];
  }
  if (!(qq > 0)) return fallback;
  return {qw / qq, 0, -zero * (qw / qq)};
}

struct Fit {
  GroupValues line;
  float error;
};

Fit fit_of(const Grouped& format, std::span<const float> group, const GroupValues& line,
           GroupQuants& quants) {
  const GroupValues values = stored(format, line);
  quantise(group, values, range_of(format), quants);
  return {values, squared_error(group, values, quants)};
}

/// The best of lines on which 0 is one of the values: weights near 0 meet the largest activations, and half a
/// step there costs more than anywhere else. Only where values lie on another grid already is that one taken.
GroupValues choose_line(const Grouped& format, std::span<const float> group) {
  constexpr float on_another_grid = 0.1F;  // of the error
  GroupQuants quants;
  const auto [lowest, highest] = std::minmax_element(group.begin(), group.end());
  const Fit whole = fit_of(format, group, {(*highest - *lowest) / highest_quant, 0, *lowest}, quants);
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
      const GroupValues start{scale, 0, -zero * scale};
      quantise(group, start, range_of(format), quants);
      const Fit fit = fit_of(format, group, line_through(group, quants, zero, start), quants);
      if (!is_first && !(fit.error < best.error)) continue;
      best = fit;
      is_first = false;
    }
  }
  const bool take_whole = whole.error <= on_another_grid * best.error || !std::isfinite(best.line.scale);
  return take_whole ? whole.line : best.line;
}

// Quants that the value farthest from 0 starts from; beyond -8 it is cut, and the others get finer steps.
constexpr std::array<float, 5> extreme_quants{-7.2F, -7.6F, -8.0F, -8.4F, -8.8F};

/// The scale with the least squared error among those through the quants that each start gives.
GroupValues choose_scale(const Grouped& format, std::span<const float> group) {
  GroupQuants quants;
  const auto farther = [](float a, float b) { return std::abs(a) < std::abs(b); };
  const float extreme = *std::max_element(group.begin(), group.end(), farther);
  Fit best{{0, 0, 0}, std::numeric_limits<float>::infinity()};
  for (const float quant : extreme_quants) {
    const GroupValues start{extreme / quant, 0, 0};
    quantise(group, start, range_of(format), quants);
    const Fit fit = fit_of(format, group, line_through(group, quants, 0, start), quants);
    if (fit.error < best.error) best = fit;
  }
  // Numbers so large that their squares are none are rounded the plain way, or refused.
  if (!std::isfinite(best.error)) return stored(format, {extreme / -8, 0, 0});
  return best.line;
}

}  // namespace

bool encode_weights(const Grouped& format, std::span<const float> row, std::span<std::byte> to) {
  if (format.bits != 4) return encode_row(format, row, to);
  const auto choose = format.offset == GroupOffset::minimum ? choose_line : choose_scale;
  return encode_groups(format, row, to, [&](std::span<const float> group) { return choose(format, group); });
}

}  // namespace galago
