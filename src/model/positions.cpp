#include "model/positions.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace galago::model {
namespace {

constexpr std::size_t n_taps = 4;

/// Keys' cubic convolution (1981).
float cubic(float distance) {
  constexpr float a = -0.75F;
  const float x = std::abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

/// The lines (or columns) that one of the new grid is made of.
struct Taps {
  std::array<std::int64_t, n_taps> at{};
  std::array<float, n_taps> weight{};

  Taps(std::int64_t index, std::int64_t from_side, std::int64_t to_side) {
    const float scale = static_cast<float>(from_side) / static_cast<float>(to_side);
    const float place = scale * (static_cast<float>(index) + 0.5F) - 0.5F;
    const float below = std::floor(place);
    for (std::size_t i = 0; i < n_taps; ++i) {
      const auto tap = static_cast<std::int64_t>(below) + static_cast<std::int64_t>(i) - 1;
      at[i] = std::clamp<std::int64_t>(tap, 0, from_side - 1);
      weight[i] = cubic(place - below + 1 - static_cast<float>(i));
    }
  }
};

}  // namespace

void resample_positions(std::span<const float> from, const PositionGrids& grids, std::span<float> to) {
  const auto width = static_cast<std::size_t>(grids.width);
  std::copy_n(from.begin(), width, to.begin());
  for (std::int64_t y = 0; y < grids.to_side; ++y) {
    const Taps lines(y, grids.from_side, grids.to_side);
    for (std::int64_t x = 0; x < grids.to_side; ++x) {
      const Taps columns(x, grids.from_side, grids.to_side);
      const auto row = to.subspan(static_cast<std::size_t>(1 + y * grids.to_side + x) * width, width);
      std::fill(row.begin(), row.end(), 0.0F);
      for (std::size_t i = 0; i < n_taps * n_taps; ++i) {
        const std::int64_t cell = lines.at[i / n_taps] * grids.from_side + columns.at[i % n_taps];
        const float weight = lines.weight[i / n_taps] * columns.weight[i % n_taps];
        const auto tap = from.subspan(static_cast<std::size_t>(1 + cell) * width, width);
        for (std::size_t value = 0; value < width; ++value) row[value] += weight * tap[value];
      }
    }
  }
}

}  // namespace galago::model
