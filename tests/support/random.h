// Reproducible values for tests.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace galago::testing {

inline std::vector<float> random_floats(std::size_t n, std::uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::vector<float> values(n);
  // Not std::normal_distribution: its values differ from library to library.
  for (float& value : values) {
    const double unit = static_cast<double>(random()) / 4294967296.0;
    value = static_cast<float>(2 * unit - 1) * scale;
  }
  return values;
}

}  // namespace galago::testing
