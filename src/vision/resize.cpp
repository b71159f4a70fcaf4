#include "vision/resize.h"

#include <algorithm>
#include <cstring>

namespace galago::vision {
namespace {

constexpr std::int64_t n_channels = 3;
constexpr std::int64_t at_once = kernels::resample_rows;
// Sums of so many bytes of a row stay in the first-level cache.
constexpr std::int64_t line_block = n_channels * 704;

/// Which pass Pillow 13 takes first; found by comparing sizes, earlier versions have horizontal throughout.
bool is_vertical_first(Size in, Size out) {
  return out.height < in.height && in.height - out.height > 2 * (in.width - out.width);
}

bool is_filled(const Canvas& canvas) {
  return canvas.size.width == canvas.image.width() && canvas.size.height == canvas.image.height();
}

template <class T>
std::vector<T> zeros(std::int64_t count) {
  return std::vector<T>(static_cast<std::size_t>(count));
}

}  // namespace

Resampling::Scratch::Scratch(const Resampling& resampling, std::int64_t most_rows) {
  const std::int64_t row_bytes = resampling.width_ * n_channels;
  const std::int64_t line_bytes = resampling.columns_.n_inputs() * n_channels;
  const bool filled = resampling.ground_.empty();
  pixels_ = zeros<std::uint8_t>(most_rows * row_bytes);
  narrow_ = zeros<std::uint8_t>(at_once * (row_bytes + 1));
  if (resampling.vertical_first_) {
    sums_ = zeros<std::int32_t>(line_block);
    lines_ = zeros<std::uint8_t>(at_once * (line_bytes + (filled ? 0 : line_block)));
  } else {
    sums_ = zeros<std::int32_t>(most_rows * row_bytes);
    lines_ = zeros<std::uint8_t>(filled ? 0 : at_once * line_bytes);
  }
}

Resampling::Resampling(const Canvas& canvas, Size size, Filter filter, const Window& window,
                       const kernels::KernelTable& kernels)
    : canvas_(canvas),
      kernels_(kernels),
      vertical_first_(is_vertical_first(canvas.size, size)),
      rows_(filter, {canvas.size.height, size.height, window.top, window.size.height}),
      columns_(filter, {canvas.size.width, size.width, window.left, window.size.width}),
      width_(window.size.width) {
  if (is_filled(canvas)) return;
  const std::int64_t line_bytes = columns_.n_inputs() * n_channels;
  ground_.reserve(static_cast<std::size_t>(line_bytes));
  for (std::int64_t i = 0; i < line_bytes; ++i) {
    ground_.push_back(canvas.colour[static_cast<std::size_t>(i % n_channels)]);
  }
  const std::int64_t stride = width_ * n_channels + 1;
  narrow_ground_ = zeros<std::uint8_t>(at_once * stride);
  FourRows lines;
  lines.fill(ground_.data());
  kernels_.resample_columns(lines.data(), columns_.n_inputs(), columns_.view(), narrow_ground_.data(),
                            stride);
}

bool Resampling::has_picture(std::int64_t y, std::int64_t n_rows) const {
  return y + n_rows > canvas_.top && y < canvas_.top + canvas_.image.height();
}

const std::uint8_t* Resampling::canvas_bytes(std::int64_t y, Part part, std::uint8_t* buffer) const {
  if (!has_picture(y, 1)) return ground_.data();
  const std::int64_t row_bytes = canvas_.image.width() * n_channels;
  const std::uint8_t* const row = canvas_.image.pixels().data() + (y - canvas_.top) * row_bytes;
  // Where the part lies on the picture's row.
  const std::int64_t begin = (columns_.first_input() - canvas_.left) * n_channels + part.first;
  const std::int64_t end = begin + part.count;
  if (begin >= 0 && end <= row_bytes) return row + begin;
  std::memcpy(buffer, ground_.data(), static_cast<std::size_t>(part.count));
  const std::int64_t from = std::max<std::int64_t>(begin, 0), to = std::min(end, row_bytes);
  if (from < to) std::memcpy(buffer + (from - begin), row + from, static_cast<std::size_t>(to - from));
  return buffer;
}

Resampling::FourRows Resampling::canvas_rows(std::int64_t input, Part part, std::uint8_t* buffer) const {
  FourRows rows{};
  const std::uint8_t* last = nullptr;
  for (const std::uint8_t*& row : rows) {
    if (input < rows_.n_inputs()) last = canvas_bytes(rows_.first_input() + input++, part, buffer);
    row = last;
    buffer += part.count;
  }
  return rows;
}

Resampling::FourWeights Resampling::weights_of(std::int64_t row, std::int64_t input) const {
  FourWeights weights{};
  for (std::int32_t& weight : weights) weight = rows_.weight(row, input++);
  return weights;
}

/// Takes every canvas row once, resampled, and adds it to all rows that it reaches. Both ends of their taps
/// rise with the row, so those form a range that moves on.
void Resampling::horizontal_first(std::int64_t first, std::int64_t count, Scratch& scratch) const {
  const std::int64_t row_bytes = width_ * n_channels;
  const std::int64_t stride = row_bytes + 1;
  std::fill(scratch.sums_.begin(), scratch.sums_.end(), 0);
  std::int64_t begin = first;
  const std::int64_t end = first + count;
  for (std::int64_t input = rows_.first(first); input < rows_.end(end - 1); input += at_once) {
    while (rows_.end(begin) <= input) ++begin;
    const std::uint8_t* narrow = narrow_ground_.data();
    if (has_picture(rows_.first_input() + input, at_once)) {
      const FourRows lines = canvas_rows(input, {0, columns_.n_inputs() * n_channels}, scratch.lines_.data());
      kernels_.resample_columns(lines.data(), columns_.n_inputs(), columns_.view(), scratch.narrow_.data(),
                                stride);
      narrow = scratch.narrow_.data();
    }
    const FourRows four{narrow, narrow + stride, narrow + 2 * stride, narrow + 3 * stride};
    for (std::int64_t row = begin; row < end && rows_.first(row) < input + at_once; ++row) {
      const FourWeights weights = weights_of(row, input);
      kernels_.add_rows(four.data(), weights.data(), scratch.sums_.data() + (row - first) * row_bytes,
                        row_bytes);
    }
  }
  kernels_.round_sums(scratch.sums_.data(), scratch.pixels_.data(), count * row_bytes);
}

void Resampling::resample_line(std::int64_t row, Scratch& scratch, std::uint8_t* line) const {
  const std::int64_t line_bytes = columns_.n_inputs() * n_channels;
  // Behind the lines, where the canvas is larger than the picture.
  std::uint8_t* const buffer = scratch.lines_.data() + at_once * line_bytes;
  for (std::int64_t at = 0; at < line_bytes; at += line_block) {
    const Part part{at, std::min(line_block, line_bytes - at)};
    std::fill_n(scratch.sums_.begin(), part.count, 0);
    for (std::int64_t input = rows_.first(row); input < rows_.end(row); input += at_once) {
      const FourRows four = canvas_rows(input, part, buffer);
      const FourWeights weights = weights_of(row, input);
      kernels_.add_rows(four.data(), weights.data(), scratch.sums_.data(), part.count);
    }
    kernels_.round_sums(scratch.sums_.data(), line + at, part.count);
  }
}

/// Makes four rows at a time of the canvas's columns that the window needs, and then of those the window's.
void Resampling::vertical_first(std::int64_t first, std::int64_t count, Scratch& scratch) const {
  const std::int64_t row_bytes = width_ * n_channels;
  const std::int64_t stride = row_bytes + 1;
  const std::int64_t line_bytes = columns_.n_inputs() * n_channels;
  for (std::int64_t done = 0; done < count; done += at_once) {
    const std::int64_t n_rows = std::min(at_once, count - done);
    FourRows lines{};
    for (std::int64_t i = 0; i < n_rows; ++i) {
      resample_line(first + done + i, scratch, scratch.lines_.data() + i * line_bytes);
    }
    for (std::int64_t i = 0; i < at_once; ++i) {
      lines[static_cast<std::size_t>(i)] = scratch.lines_.data() + std::min(i, n_rows - 1) * line_bytes;
    }
    kernels_.resample_columns(lines.data(), columns_.n_inputs(), columns_.view(), scratch.narrow_.data(),
                              stride);
    for (std::int64_t i = 0; i < n_rows; ++i) {
      std::memcpy(scratch.pixels_.data() + (done + i) * row_bytes, scratch.narrow_.data() + i * stride,
                  static_cast<std::size_t>(row_bytes));
    }
  }
}

std::span<const std::uint8_t> Resampling::rows(std::int64_t first, std::int64_t count,
                                               Scratch& scratch) const {
  if (vertical_first_) {
    vertical_first(first, count, scratch);
  } else {
    horizontal_first(first, count, scratch);
  }
  return std::span(scratch.pixels_).first(static_cast<std::size_t>(count * width_ * n_channels));
}

}  // namespace galago::vision
