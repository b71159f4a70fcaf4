// The times of repeated runs, and the two numbers that they are told as.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace galago::runtime {

/// The value below which `fraction` of `sorted` lies, between two of them linearly. `sorted` is not empty.
inline double quantile(const std::vector<double>& sorted, double fraction) {
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = place - std::floor(place);
  return sorted[below] * (1 - part) + sorted[above] * part;
}

struct Summary {
  double median = 0;
  double spread = 0;  ///< distance of the quartiles / median
};

inline Summary summarize(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const double median = quantile(samples, 0.5);
  return {median, median > 0 ? (quantile(samples, 0.75) - quantile(samples, 0.25)) / median : 0};
}

}  // namespace galago::runtime
