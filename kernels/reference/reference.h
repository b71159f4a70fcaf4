// Plain definitions of what the kernels compute, a value at a time and summed in double: the truth that every
// other kernel is held to. Shapes as in src/backend/backend.h; rows are contiguous.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace galago::kernels::reference {

inline double gelu(double x) {
  return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
}
inline double quick_gelu(double x) {
  return x / (1 + std::exp(-1.702 * x));
}
inline double silu(double x) {
  return x / (1 + std::exp(-x));
}

/// One value of x w^T: rows of k values.
inline double dot(const float* x, const float* w, std::int64_t k) {
  double sum = 0;
  for (std::int64_t i = 0; i < k; ++i) sum += static_cast<double>(x[i]) * w[i];
  return sum;
}

/// y [cols] = (x - mean) / sqrt(variance + epsilon) * weight + bias
inline std::vector<double> layer_norm(const float* x, const float* weight, const float* bias, double epsilon,
                                      std::int64_t cols) {
  double mean = 0;
  for (std::int64_t i = 0; i < cols; ++i) mean += x[i];
  mean /= static_cast<double>(cols);
  double variance = 0;
  for (std::int64_t i = 0; i < cols; ++i) variance += (x[i] - mean) * (x[i] - mean);
  variance /= static_cast<double>(cols);
  std::vector<double> y(static_cast<std::size_t>(cols));
  for (std::int64_t i = 0; i < cols; ++i) {
    y[static_cast<std::size_t>(i)] = (x[i] - mean) / std::sqrt(variance + epsilon) * weight[i] + bias[i];
  }
  return y;
}

/// y [cols] = x / sqrt(mean(x^2) + epsilon) * weight
inline std::vector<double> rms_norm(const float* x, const float* weight, double epsilon, std::int64_t cols) {
  const double mean_square = dot(x, x, cols) / static_cast<double>(cols);
  std::vector<double> y(static_cast<std::size_t>(cols));
  for (std::int64_t i = 0; i < cols; ++i) {
    y[static_cast<std::size_t>(i)] = x[i] / std::sqrt(mean_square + epsilon) * weight[i];
  }
  return y;
}

/// Which positions a query sees: the first `sinks` and the last `window`, its own the last of all; a window
/// of 0: all.
struct Sight {
  std::int64_t window = 0;
  std::int64_t sinks = 0;

  bool sees(std::int64_t position, std::int64_t n) const {
    return window == 0 || position < sinks || position >= n - window;
  }
};

/// One head of one query [head_size] over those of `n` keys and values, `stride` floats apart, that it sees:
/// softmax(scale q k^T) v.
inline std::vector<double> attend(const float* q, const float* keys, const float* values, std::int64_t stride,
                                  std::int64_t n, std::int64_t head_size, double scale,
                                  const Sight& sight = {}) {
  std::vector<double> scores(static_cast<std::size_t>(n), -INFINITY);
  for (std::int64_t t = 0; t < n; ++t) {
    if (!sight.sees(t, n)) continue;
    scores[static_cast<std::size_t>(t)] = scale * dot(q, keys + t * stride, head_size);
  }
  const double highest = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - highest);
  std::vector<double> out(static_cast<std::size_t>(head_size));
  for (std::int64_t t = 0; t < n; ++t) {
    for (std::int64_t d = 0; d < head_size; ++d) {
      out[static_cast<std::size_t>(d)] +=
          scores[static_cast<std::size_t>(t)] / total * values[t * stride + d];
    }
  }
  return out;
}

/// x [head_size] turned by position * inverse_frequencies, element i with i + head_size / 2.
inline std::vector<double> rope(const float* x, const float* inverse_frequencies, std::int64_t position,
                                std::int64_t head_size) {
  const std::int64_t half = head_size / 2;
  std::vector<double> y(static_cast<std::size_t>(head_size));
  for (std::int64_t i = 0; i < half; ++i) {
    // The angle is rounded to FP32, as the models were trained.
    const double angle = static_cast<float>(position) * inverse_frequencies[i];
    y[static_cast<std::size_t>(i)] = x[i] * std::cos(angle) - x[half + i] * std::sin(angle);
    y[static_cast<std::size_t>(half + i)] = x[half + i] * std::cos(angle) + x[i] * std::sin(angle);
  }
  return y;
}

/// A pixel's level: values `stride` apart, times weights with 22 bits behind their point, rounded.
inline std::uint8_t resample(const std::uint8_t* values, std::int64_t stride,
                             const std::vector<std::int32_t>& weights) {
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += static_cast<double>(weights[i]) * values[static_cast<std::int64_t>(i) * stride];
  }
  return static_cast<std::uint8_t>(std::clamp(std::floor(sum / (1 << 22) + 0.5), 0.0, 255.0));
}

}  // namespace galago::kernels::reference
