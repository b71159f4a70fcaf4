// Resampling of 8-bit pictures as Pillow 13 does it, bit for bit: two passes with 8 bits between them. Their
// order follows the sizes there, which earlier versions of Pillow do not: they go horizontally first always.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "galago/image.h"
#include "kernels/cpu/kernels.h"
#include "vision/taps.h"

namespace galago::vision {

struct Size {
  std::int64_t width = 0;
  std::int64_t height = 0;
};

struct Window {
  std::int64_t left = 0;
  std::int64_t top = 0;
  Size size;
};

/// A picture on a larger ground of one colour, without its pixels ever being laid out.
struct Canvas {
  const Image& image;
  Size size;
  std::int64_t left = 0;  ///< where the picture stands
  std::int64_t top = 0;
  std::array<std::uint8_t, 3> colour{};
};

/// A canvas resampled to another size, of which a window is wanted. Rows of the window are made
/// independently of others, so that several threads can share them.
class Resampling {
 public:
  /// What one thread works in, for some rows at a time at most: 15 bytes a pixel of those, and 12 a column of
  /// the canvas.
  class Scratch {
   public:
    Scratch(const Resampling& resampling, std::int64_t most_rows);

   private:
    friend class Resampling;

    std::vector<std::int32_t> sums_;
    std::vector<std::uint8_t> lines_;   // four rows of the canvas, or of its size
    std::vector<std::uint8_t> narrow_;  // four rows of the window, a byte behind each
    std::vector<std::uint8_t> pixels_;
  };

  /// The window is not empty; the canvas's picture and the kernels outlive the object. Coefficients take some
  /// 24 bytes a column and row of the canvas.
  Resampling(const Canvas& canvas, Size size, Filter filter, const Window& window,
             const kernels::KernelTable& kernels);

  /// Rows [first, first + count) of the window, [count, width, 3], until the scratch is used again.
  std::span<const std::uint8_t> rows(std::int64_t first, std::int64_t count, Scratch& scratch) const;

 private:
  using FourRows = std::array<const std::uint8_t*, kernels::resample_rows>;
  using FourWeights = std::array<std::int32_t, kernels::resample_rows>;

  /// Bytes of a row, counted from the first column of the canvas that is needed.
  struct Part {
    std::int64_t first, count;
  };

  bool has_picture(std::int64_t y, std::int64_t n_rows) const;
  /// A part of a row of the canvas, where it lies or laid out in `buffer`.
  const std::uint8_t* canvas_bytes(std::int64_t y, Part part, std::uint8_t* buffer) const;
  /// The same of four rows from the rows' input on; instead of those behind the last input that one again.
  FourRows canvas_rows(std::int64_t input, Part part, std::uint8_t* buffer) const;
  FourWeights weights_of(std::int64_t row, std::int64_t input) const;
  void horizontal_first(std::int64_t first, std::int64_t count, Scratch& scratch) const;
  void vertical_first(std::int64_t first, std::int64_t count, Scratch& scratch) const;
  /// The canvas's needed columns at a row of the window.
  void resample_line(std::int64_t row, Scratch& scratch, std::uint8_t* line) const;

  Canvas canvas_;
  const kernels::KernelTable& kernels_;
  bool vertical_first_;
  Taps rows_;
  SplitTaps columns_;
  std::int64_t width_;                       // of the window
  std::vector<std::uint8_t> ground_;         // a row without the picture, where the canvas is larger
  std::vector<std::uint8_t> narrow_ground_;  // what becomes of four of them
};

}  // namespace galago::vision
