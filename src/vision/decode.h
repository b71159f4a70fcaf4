// What the decoders of the picture formats share: the bytes with their limits, and what comes out of them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "galago/image.h"

namespace galago::vision {

/// A picture file in memory.
struct Encoded {
  std::span<const std::uint8_t> bytes;
  std::string_view name;  ///< for messages
  const ImageLimits& limits;
};

/// RGB pixels as stored, and the EXIF orientation (1 to 8; 1 is upright) that they are to be shown with.
struct Decoded {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]
  int orientation = 1;
};

/// Throws where a header announces an empty picture or one beyond the limits.
void check_size(const Encoded& file, std::uint64_t width, std::uint64_t height);

Decoded decode_jpeg(const Encoded& file);
Decoded decode_png(const Encoded& file);
Decoded decode_bmp(const Encoded& file);
Decoded decode_gif(const Encoded& file);

}  // namespace galago::vision
