// Pillow's resampling: normalised coefficients in double, rounded to fixed point; sums in 32 bits.
#include "vision/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <span>

namespace galago::vision {
namespace {

constexpr int precision_bits = 32 - 8 - 2;  // 8 of the pixel, 2 for filters that overshoot
constexpr std::int32_t one_half = 1 << (precision_bits - 1);

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

/// The inputs and weights of one output position.
struct Taps {
  std::int64_t first = 0;
  std::vector<std::int32_t> weights;  // fixed point

  std::int64_t end() const { return first + static_cast<std::int64_t>(weights.size()); }
};

Taps taps_at(std::int64_t position, std::int64_t in_size, std::int64_t out_size, const Kernel& kernel) {
  if (in_size == out_size) return {position, {1 << precision_bits}};
  const double scale = static_cast<double>(in_size) / static_cast<double>(out_size);
  const double filter_scale = std::max(scale, 1.0);
  const double support = kernel.support * filter_scale;
  const double center = (static_cast<double>(position) + 0.5) * scale;
  const double inverse = 1.0 / filter_scale;
  Taps taps;
  taps.first = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
  const std::int64_t end = std::min(static_cast<std::int64_t>(center + support + 0.5), in_size);
  std::vector<double> weights(static_cast<std::size_t>(std::max<std::int64_t>(end - taps.first, 0)));
  double sum = 0.0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    weights[i] = kernel.weight(
        (static_cast<double>(static_cast<std::int64_t>(i) + taps.first) - center + 0.5) * inverse);
    sum += weights[i];
  }
  taps.weights.reserve(weights.size());
  for (double weight : weights) {
    if (sum != 0.0) weight /= sum;
    const double fixed = weight * (1 << precision_bits);
    taps.weights.push_back(static_cast<std::int32_t>(weight < 0 ? fixed - 0.5 : fixed + 0.5));
  }
  return taps;
}

std::vector<Taps> taps_of(std::int64_t first, std::int64_t count, std::int64_t in_size, std::int64_t out_size,
                          const Kernel& kernel) {
  std::vector<Taps> taps;
  taps.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) taps.push_back(taps_at(first + i, in_size, out_size, kernel));
  return taps;
}

std::uint8_t to_pixel(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> precision_bits, 0, 255));
}

void resample_row(const std::uint8_t* row, std::span<const Taps> columns, std::uint8_t* out) {
  for (const Taps& column : columns) {
    std::int32_t red = one_half, green = one_half, blue = one_half;
    const std::uint8_t* pixel = row + column.first * 3;
    for (const std::int32_t weight : column.weights) {
      red += pixel[0] * weight;
      green += pixel[1] * weight;
      blue += pixel[2] * weight;
      pixel += 3;
    }
    *out++ = to_pixel(red);
    *out++ = to_pixel(green);
    *out++ = to_pixel(blue);
  }
}

/// Rows of the canvas after the horizontal pass, one at a time; those without picture are computed once.
class ResampledRows {
 public:
  ResampledRows(const Canvas& canvas, std::span<const Taps> columns)
      : canvas_(canvas),
        columns_(columns),
        canvas_row_(static_cast<std::size_t>(canvas.size.width) * 3),
        ground_(columns.size() * 3),
        row_(columns.size() * 3) {
    for (std::size_t i = 0; i < canvas_row_.size(); ++i) canvas_row_[i] = canvas.colour[i % 3];
    resample_row(canvas_row_.data(), columns_, ground_.data());
  }

  const std::vector<std::uint8_t>& at(std::int64_t y) {
    const Image& image = canvas_.image;
    if (y < canvas_.top || y >= canvas_.top + image.height()) return ground_;
    const auto row_bytes = static_cast<std::size_t>(image.width()) * 3;
    std::memcpy(canvas_row_.data() + canvas_.left * 3,
                image.pixels().data() + static_cast<std::size_t>(y - canvas_.top) * row_bytes, row_bytes);
    resample_row(canvas_row_.data(), columns_, row_.data());
    return row_;
  }

 private:
  const Canvas& canvas_;
  std::span<const Taps> columns_;
  std::vector<std::uint8_t> canvas_row_;
  std::vector<std::uint8_t> ground_;
  std::vector<std::uint8_t> row_;
};

}  // namespace

std::vector<std::uint8_t> resize(const Canvas& canvas, Size size, Filter filter, const Window& window) {
  const Kernel kernel = kernel_of(filter);
  const auto columns = taps_of(window.left, window.size.width, canvas.size.width, size.width, kernel);
  const auto rows = taps_of(window.top, window.size.height, canvas.size.height, size.height, kernel);
  ResampledRows resampled(canvas, columns);

  // The vertical pass takes every canvas row once and adds it to all output rows that it reaches. Both ends
  // of their taps rise with the output row, so those form a range that moves on.
  const std::size_t row_values = static_cast<std::size_t>(window.size.width) * 3;
  std::vector<std::int32_t> sums(row_values * rows.size(), one_half);
  std::size_t begin = 0;
  for (std::int64_t y = rows.front().first; y < rows.back().end(); ++y) {
    while (begin < rows.size() && rows[begin].end() <= y) ++begin;
    if (begin == rows.size() || rows[begin].first > y) continue;
    const std::uint8_t* row = resampled.at(y).data();
    for (std::size_t i = begin; i < rows.size() && rows[i].first <= y; ++i) {
      if (rows[i].end() <= y) continue;
      const std::int32_t weight = rows[i].weights[static_cast<std::size_t>(y - rows[i].first)];
      std::int32_t* sum = sums.data() + i * row_values;
      for (std::size_t x = 0; x < row_values; ++x) sum[x] += row[x] * weight;
    }
  }
  std::vector<std::uint8_t> pixels(sums.size());
  std::transform(sums.begin(), sums.end(), pixels.begin(), to_pixel);
  return pixels;
}

}  // namespace galago::vision
