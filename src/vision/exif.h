// EXIF orientation: finding it in foreign bytes and turning a picture by it.
#pragma once

#include <cstdint>
#include <span>

#include "vision/decode.h"

namespace galago::vision {

/// The orientation in a TIFF structure (an EXIF block without its "Exif\0\0"); 1 where there is none or the
/// bytes make no sense: a picture is not refused for its metadata.
int exif_orientation(std::span<const std::uint8_t> tiff);

/// Turns and mirrors the pixels so that they need no orientation any more.
Decoded make_upright(Decoded picture);

}  // namespace galago::vision
