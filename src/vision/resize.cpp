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
  // Pillow rounds so; lround differs below zero.
  // NOLINTBEGIN(bugprone-incorrect-roundings)
  taps.first = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
  const std::int64_t end = std::min(static_cast<std::int64_t>(center + support + 0.5), in_size);
  // NOLINTEND(bugprone-incorrect-roundings)
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

/// Rows of the canvas, laid out only where the picture does not fill them.
class CanvasRows {
 public:
  explicit CanvasRows(const Canvas& canvas)
      : canvas_(canvas), ground_(static_cast<std::size_t>(canvas.size.width) * 3), row_(ground_.size()) {
    for (std::size_t i = 0; i < ground_.size(); ++i) ground_[i] = canvas.colour[i % 3];
    row_ = ground_;
  }

  bool has_picture(std::int64_t y) const {
    return y >= canvas_.top && y < canvas_.top + canvas_.image.height();
  }
  const std::uint8_t* ground() const { return ground_.data(); }

  /// [canvas width, 3]; valid until the next call.
  const std::uint8_t* at(std::int64_t y) {
    if (!has_picture(y)) return ground_.data();
    const Image& image = canvas_.image;
    const auto row_bytes = static_cast<std::size_t>(image.width()) * 3;
    const std::uint8_t* picture_row =
        image.pixels().data() + static_cast<std::size_t>(y - canvas_.top) * row_bytes;
    if (row_bytes == row_.size()) return picture_row;
    std::memcpy(row_.data() + canvas_.left * 3, picture_row, row_bytes);
    return row_.data();
  }

 private:
  const Canvas& canvas_;
  std::vector<std::uint8_t> ground_;
  std::vector<std::uint8_t> row_;
};

void add_weighted(const std::uint8_t* row, std::int32_t weight, std::span<std::int32_t> sums) {
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += row[i] * weight;
}

/// Takes every canvas row once, resampled, and adds it to all output rows that it reaches. Both ends of their
/// taps rise with the output row, so those form a range that moves on.
void horizontal_first(CanvasRows& canvas, std::span<const Taps> columns, std::span<const Taps> rows,
                      std::span<std::uint8_t> pixels) {
  const std::size_t row_values = columns.size() * 3;
  std::vector<std::uint8_t> ground(row_values), picture_row(row_values);
  resample_row(canvas.ground(), columns, ground.data());
  std::vector<std::int32_t> sums(pixels.size(), one_half);
  std::size_t begin = 0;
  for (std::int64_t y = rows.front().first; y < rows.back().end(); ++y) {
    while (begin < rows.size() && rows[begin].end() <= y) ++begin;
    if (begin == rows.size() || rows[begin].first > y) continue;
    const bool has_picture = canvas.has_picture(y);
    if (has_picture) resample_row(canvas.at(y), columns, picture_row.data());
    const std::uint8_t* row = has_picture ? picture_row.data() : ground.data();
    for (std::size_t i = begin; i < rows.size() && rows[i].first <= y; ++i) {
      if (rows[i].end() <= y) continue;
      const std::int32_t weight = rows[i].weights[static_cast<std::size_t>(y - rows[i].first)];
      add_weighted(row, weight, std::span(sums).subspan(i * row_values, row_values));
    }
  }
  std::transform(sums.begin(), sums.end(), pixels.begin(), to_pixel);
}

/// Makes one output row at a time, of those columns of the canvas that the window needs.
void vertical_first(CanvasRows& canvas, std::span<const Taps> columns, std::span<const Taps> rows,
                    std::span<std::uint8_t> pixels) {
  const auto begin = static_cast<std::size_t>(columns.front().first) * 3;
  const auto end = static_cast<std::size_t>(columns.back().end()) * 3;
  std::vector<std::int32_t> sums(end - begin);
  std::vector<std::uint8_t> row(end);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::fill(sums.begin(), sums.end(), one_half);
    for (std::int64_t y = rows[i].first; y < rows[i].end(); ++y) {
      add_weighted(canvas.at(y) + begin, rows[i].weights[static_cast<std::size_t>(y - rows[i].first)], sums);
    }
    std::transform(sums.begin(), sums.end(), row.begin() + static_cast<std::ptrdiff_t>(begin), to_pixel);
    resample_row(row.data(), columns, pixels.data() + i * columns.size() * 3);
  }
}

/// Which pass Pillow 13 takes first; found by comparing sizes, earlier versions have horizontal throughout.
bool is_vertical_first(Size in, Size out) {
  return out.height < in.height && in.height - out.height > 2 * (in.width - out.width);
}

}  // namespace

std::vector<std::uint8_t> resize(const Canvas& canvas, Size size, Filter filter, const Window& window) {
  const Kernel kernel = kernel_of(filter);
  const auto columns = taps_of(window.left, window.size.width, canvas.size.width, size.width, kernel);
  const auto rows = taps_of(window.top, window.size.height, canvas.size.height, size.height, kernel);
  std::vector<std::uint8_t> pixels(columns.size() * rows.size() * 3);
  CanvasRows canvas_rows(canvas);
  const auto passes = is_vertical_first(canvas.size, size) ? vertical_first : horizontal_first;
  passes(canvas_rows, columns, rows, pixels);
  return pixels;
}

}  // namespace galago::vision
