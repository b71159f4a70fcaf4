// Resampling of 8-bit pictures as Pillow 13 does it, bit for bit: two passes with 8 bits between them. Their
// order follows the sizes there, which earlier versions of Pillow do not: they go horizontally first always.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "galago/image.h"

namespace galago::vision {

enum class Filter { bilinear, bicubic, lanczos };

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

/// Resamples the canvas to `size` and returns the pixels of a window of the result, [height, width, 3]. Only
/// what the window needs is computed: beyond the result, memory is 12 bytes a pixel of the window, seven rows
/// of the canvas, and the coefficients (some 20 bytes a column and row of the canvas).
std::vector<std::uint8_t> resize(const Canvas& canvas, Size size, Filter filter, const Window& window);

}  // namespace galago::vision
