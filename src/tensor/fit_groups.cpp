#include "tensor/fit_groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tensor/encode_groups.h"

namespace galago {
namespace {

// Four groups are fitted side by side, an element of each at a time: sums have their order within a group,
// and the bytes do not depend on the width of a machine's vectors.
constexpr std::size_t n_side = 4;
using Floats = float __attribute__((vector_size(n_side * sizeof(float))));
using Mask = std::int32_t __attribute__((vector_size(n_side * sizeof(float))));

struct Groups {
  std::size_t count;  // elements of each
  std::array<Floats, most_group_elements> values;
};
using Quants = std::array<Floats, most_group_elements>;

struct Line {
  Floats scale;
  Floats minimum;
};

constexpr float highest_quant = 15;

// Of the range between the least and the largest value: values beyond are cut, the others get finer steps.
// Lines through the quants of these begin from there; more starts gain little.
constexpr std::array<float, 3> starts{1.0F, 0.92F, 0.84F};

Floats all(float value) {
  return Floats{} + value;
}
Floats lesser(Floats a, Floats b) {
  return b < a ? b : a;
}
Floats larger(Floats a, Floats b) {
  return a < b ? b : a;
}
Floats absolute(Floats value) {
  return reinterpret_cast<Floats>(reinterpret_cast<Mask>(value) & 0x7FFF'FFFF);
}
Mask is_finite(Floats value) {
  return absolute(value) < std::numeric_limits<float>::infinity();
}
Line choose(Mask condition, const Line& yes, const Line& no) {
  return {condition ? yes.scale : no.scale, condition ? yes.minimum : no.minimum};
}

/// As the record will give it back.
Line stored(const Grouped& format, Line line) {
  for (std::size_t i = 0; i < n_side; ++i) {
    line.scale[i] = rounded(format, line.scale[i]);
    line.minimum[i] = rounded(format, line.minimum[i]);
  }
  return line;
}

/// As quantise() does it.
void quantise(const Groups& groups, const Line& line, QuantRange range, Quants& quants) {
  const Floats inverse = line.scale == 0.0F ? all(0) : 1.0F / line.scale;
  for (std::size_t i = 0; i < groups.count; ++i) {
    const Floats quant = (groups.values[i] - line.minimum) * inverse;
    quants[i] = nearest(lesser(larger(quant, all(range.lowest)), all(range.highest)));
  }
}

Floats squared_error(const Groups& groups, const Line& line, const Quants& quants) {
  Floats sum{};
  for (std::size_t i = 0; i < groups.count; ++i) {
    const Floats error = line.scale * quants[i] + line.minimum - groups.values[i];
    sum += error * error;
  }
  return sum;
}

/// The lines with the least squared error for these quants, if 0 is to be `zero`; `fallback` where all are
/// that.
Line line_through(const Groups& groups, const Quants& quants, Floats zero, const Line& fallback) {
  Floats qq{}, qw{};
  for (std::size_t i = 0; i < groups.count; ++i) {
    const Floats quant = quants[i] - zero;
    qq += quant * quant;
    qw += quant * groups.values[i];
  }
  const Floats scale = qw / qq;
  return choose(qq > 0.0F, {scale, -zero * scale}, fallback);
}

struct Fit {
  Line line;
  Floats error;
};

Fit fit_of(const Grouped& format, const Groups& groups, const Line& line, Quants& quants) {
  const Line values = stored(format, line);
  quantise(groups, values, range_of(format), quants);
  return {values, squared_error(groups, values, quants)};
}

void take_if(Mask condition, const Fit& fit, Fit& best) {
  best = {choose(condition, fit.line, best.line), condition ? fit.error : best.error};
}

/// The best of lines on which 0 is one of the values: weights near 0 meet the largest activations, and half a
/// step there costs more than anywhere else. Only where values lie on another grid already is that one taken.
Line choose_lines(const Grouped& format, const Groups& groups) {
  constexpr float on_another_grid = 0.1F;  // of the error
  Quants quants;
  Floats lowest = groups.values[0], highest = groups.values[0];
  for (std::size_t i = 1; i < groups.count; ++i) {
    lowest = lesser(lowest, groups.values[i]);
    highest = groups.values[i] < highest ? highest : groups.values[i];
  }
  const Fit whole = fit_of(format, groups, {(highest - lowest) / highest_quant, lowest}, quants);
  const Floats least = lesser(lowest, all(0));
  const Floats range = larger(highest, all(0)) - least;
  Fit best = whole;
  Mask is_first = Mask{} - 1;
  for (const float part : starts) {
    for (const float shift : {-0.5F, 0.5F}) {
      const Floats scale = range * part / highest_quant;
      const Floats middle = 7.5F + shift + (-least - range / 2.0F) / scale;
      const Floats zero = nearest(lesser(larger(middle, all(0)), all(highest_quant)));
      const Line start{scale, -zero * scale};
      quantise(groups, start, range_of(format), quants);
      const Fit fit = fit_of(format, groups, line_through(groups, quants, zero, start), quants);
      const Mask is_line = scale > 0.0F;
      take_if(is_line & (is_first | (fit.error < best.error)), fit, best);
      is_first &= ~is_line;
    }
  }
  const Mask take_whole = (whole.error <= on_another_grid * best.error) | ~is_finite(best.line.scale);
  return choose(take_whole, whole.line, best.line);
}

// Quants that the value farthest from 0 starts from; beyond -8 it is cut, and the others get finer steps.
constexpr std::array<float, 5> extreme_quants{-7.2F, -7.6F, -8.0F, -8.4F, -8.8F};

/// The scales with the least squared error among those through the quants that each start gives.
Line choose_scales(const Grouped& format, const Groups& groups) {
  Quants quants;
  Floats extreme = groups.values[0];
  for (std::size_t i = 1; i < groups.count; ++i) {
    extreme = absolute(extreme) < absolute(groups.values[i]) ? groups.values[i] : extreme;
  }
  Fit best{{all(0), all(0)}, all(std::numeric_limits<float>::infinity())};
  for (const float quant : extreme_quants) {
    const Line start{extreme / quant, all(0)};
    quantise(groups, start, range_of(format), quants);
    const Fit fit = fit_of(format, groups, line_through(groups, quants, all(0), start), quants);
    take_if(fit.error < best.error, fit, best);
  }
  // Numbers so large that their squares are none are rounded the plain way, or refused.
  return choose(is_finite(best.error), best.line, stored(format, {extreme / -8.0F, all(0)}));
}

/// As many of the next groups as are fitted at once; those that are not there, or not whole beside whole
/// ones, are 0.
Groups groups_at(std::span<const float> rest, std::size_t size) {
  Groups groups{std::min(size, rest.size()), {}};
  for (std::size_t side = 0; side < n_side && (side + 1) * groups.count <= rest.size(); ++side) {
    for (std::size_t i = 0; i < groups.count; ++i) groups.values[i][side] = rest[side * groups.count + i];
  }
  return groups;
}

}  // namespace

bool encode_weights(const Grouped& format, std::span<const float> row, std::span<std::byte> to) {
  if (format.bits != 4) return encode_row(format, row, to);
  const auto fit = format.offset == GroupOffset::minimum ? choose_lines : choose_scales;
  const auto size = static_cast<std::size_t>(format.group);
  Line lines;
  return encode_groups(format, row, to, [&](std::span<const float> group) -> GroupValues {
    const auto first = static_cast<std::size_t>(group.data() - row.data());
    const std::size_t side = first / size % n_side;
    // A last group that is not whole is fitted alone.
    if (side == 0 || group.size() < size) lines = fit(format, groups_at(row.subspan(first), size));
    const std::size_t at = group.size() < size ? 0 : side;
    return {lines.scale[at], 0, lines.minimum[at]};
  });
}

}  // namespace galago
