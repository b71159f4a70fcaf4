#include "vision/taps.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace galago::vision {
namespace {

double bilinear(double x) {
  return std::max(0.0, 1.0 - std::abs(x));
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) {
  return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::bilinear:
      return {bilinear, 1.0};
    case Filter::bicubic:
      return {bicubic, 2.0};
    case Filter::lanczos:
      return {lanczos, 3.0};
  }
  return {bicubic, 2.0};
}

/// The inputs of one output: [first, end).
struct Reach {
  std::int64_t first, end;
};

/// Finds the inputs of an output and their weights, which are 1 together.
Reach weigh(std::int64_t output, const Taps::Axis& axis, const Kernel& kernel, std::vector<double>& weights) {
  if (axis.in_size == axis.out_size) {
    weights.assign(1, 1.0);
    return {output, output + 1};
  }
  const double scale = static_cast<double>(axis.in_size) / static_cast<double>(axis.out_size);
  const double filter_scale = std::max(scale, 1.0);
  const double support = kernel.support * filter_scale;
  const double center = (static_cast<double>(output) + 0.5) * scale;
  const double inverse = 1.0 / filter_scale;
  // Pillow rounds so; lround differs below zero.
  // NOLINTBEGIN(bugprone-incorrect-roundings)
  const std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
  const std::int64_t end = std::min(static_cast<std::int64_t>(center + support + 0.5), axis.in_size);
  // NOLINTEND(bugprone-incorrect-roundings)
  weights.clear();
  double sum = 0.0;
  for (std::int64_t input = first; input < end; ++input) {
    weights.push_back(kernel.weight((static_cast<double>(input) - center + 0.5) * inverse));
    sum += weights.back();
  }
  for (double& weight : weights) {
    if (sum != 0.0) weight /= sum;
  }
  return {first, std::max(first, end)};
}

/// The most inputs that an output has.
std::int64_t most_inputs(const Taps::Axis& axis, const Kernel& kernel) {
  if (axis.in_size == axis.out_size) return 1;
  const double scale = static_cast<double>(axis.in_size) / static_cast<double>(axis.out_size);
  return static_cast<std::int64_t>(2 * kernel.support * std::max(scale, 1.0)) + 2;
}

std::int32_t to_fixed(double weight) {
  const double fixed = weight * (1 << kernels::resample_bits);
  return static_cast<std::int32_t>(weight < 0 ? fixed - 0.5 : fixed + 0.5);
}

}  // namespace

Taps::Taps(Filter filter, const Axis& axis) {
  const Kernel kernel = kernel_of(filter);
  stride_ = most_inputs(axis, kernel);
  weights_.resize(static_cast<std::size_t>(axis.count * stride_));
  std::vector<double> weights;
  for (std::int64_t i = 0; i < axis.count; ++i) {
    const Reach reach = weigh(axis.first + i, axis, kernel, weights);
    firsts_.push_back(static_cast<std::int32_t>(reach.first));
    counts_.push_back(static_cast<std::int32_t>(reach.end - reach.first));
    std::transform(weights.begin(), weights.end(), weights_.begin() + i * stride_, to_fixed);
  }
}

std::int32_t Taps::weight(std::int64_t i, std::int64_t input) const {
  if (input < first(i) || input >= end(i)) return 0;
  return weights_[static_cast<std::size_t>(i * stride_ + input - first(i))];
}

SplitTaps::SplitTaps(Filter filter, const Taps::Axis& axis) {
  const Taps taps(filter, axis);
  first_input_ = taps.first_input();
  n_inputs_ = taps.n_inputs();
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < taps.size(); ++i) {
    firsts_.push_back(static_cast<std::int32_t>(taps.first(i)));
    counts_.push_back(static_cast<std::int32_t>(taps.end(i) - taps.first(i)));
    most = std::max(most, taps.end(i) - taps.first(i));
  }
  stride_ = (most + 3) / 4 * 8;
  weights_.resize(firsts_.size() * static_cast<std::size_t>(stride_));
  for (std::int64_t i = 0; i < taps.size(); ++i) {
    for (std::int64_t tap = 0; tap < counts_[static_cast<std::size_t>(i)]; ++tap) {
      const std::int32_t weight = taps.weight(i, taps.first(i) + tap);
      std::int16_t* const pair = weights_.data() + i * stride_ + tap / 2 * 4 + tap % 2;
      pair[0] = static_cast<std::int16_t>(weight >> kernels::resample_low_bits);
      pair[2] = static_cast<std::int16_t>(weight & ((1 << kernels::resample_low_bits) - 1));
    }
  }
}

}  // namespace galago::vision
