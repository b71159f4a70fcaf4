// From a picture to what a vision tower takes, as a checkpoint's description says.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "galago/image.h"
#include "vision/resize.h"

namespace galago::vision {

/// How a picture of any shape comes into a tile.
enum class Fit {
  crop_center,  ///< the shortest edge is resized, the centre cut out; what is missing is black
  pad_square,   ///< padded to a square with the mean colour, then as crop_center
  stretch,      ///< resized to the tile; the aspect ratio is not kept
};

struct ImageProcessing {
  Fit fit = Fit::crop_center;
  Filter filter = Filter::bicubic;
  std::int64_t shortest_edge = 0;  ///< pixels, before the centre is cut out; stretch does not use it
  Size tile;                       ///< pixels
  double rescale_factor = 1.0 / 255;
  std::array<double, 3> mean{};
  std::array<double, 3> std{1, 1, 1};
};

struct TilePlan {
  std::int64_t n_tiles = 0;
  Size tile;

  std::size_t n_values() const {
    return static_cast<std::size_t>(n_tiles) * 3 * static_cast<std::size_t>(tile.height) *
           static_cast<std::size_t>(tile.width);
  }
};

/// The tiles of a picture, from its size alone: memory is planned before there are pixels.
TilePlan plan_tiles(Size picture, const ImageProcessing& processing);

/// Writes [n_tiles, 3, height, width] as planned by plan_tiles. Values are those of transformers'
/// Pillow-backed processors.
void process(const Image& image, const ImageProcessing& processing, std::span<float> out);

}  // namespace galago::vision
