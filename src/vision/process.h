// From a picture to the pixel values that a vision tower takes, as a checkpoint's description says.
#pragma once

#include <cstdint>
#include <span>

#include "galago/image.h"
#include "vision/tiles.h"

namespace galago::vision {

/// Writes tile `index` of the picture's plan, [3, height, width]. Values are those of transformers'
/// Pillow-backed processors.
void process_tile(const Image& image, const ImageProcessing& processing, std::int64_t index,
                  std::span<float> out);

}  // namespace galago::vision
