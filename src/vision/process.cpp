// Resize and cut on 8-bit pixels, then rescale and normalise in the order and precision of the reference.
#include "vision/process.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/fail.h"

namespace galago::vision {
namespace {

std::int64_t floor_half(std::int64_t value) {
  return value >= 0 ? value / 2 : -((1 - value) / 2);
}

Canvas canvas_of(const Image& image, const ImageProcessing& processing) {
  Canvas canvas{image, {image.width(), image.height()}};
  if (processing.tiling != Tiling::single || processing.fit != Fit::pad_square) return canvas;
  const std::int64_t side = std::max(image.width(), image.height());
  canvas.size = {side, side};
  canvas.left = (side - image.width()) / 2;
  canvas.top = (side - image.height()) / 2;
  for (std::size_t c = 0; c < 3; ++c) {
    canvas.colour[c] = static_cast<std::uint8_t>(std::clamp(processing.mean[c] * 255, 0.0, 255.0));
  }
  return canvas;
}

Size resized(Size size, const ImageProcessing& processing) {
  if (processing.fit == Fit::stretch) return processing.tile;
  const std::int64_t edge = processing.shortest_edge;
  // The reference divides in floating point and truncates.
  const auto longer = [edge](std::int64_t shorter_side, std::int64_t longer_side) {
    return static_cast<std::int64_t>(static_cast<double>(edge * longer_side) /
                                     static_cast<double>(shorter_side));
  };
  if (size.width <= size.height) return {edge, longer(size.width, size.height)};
  return {longer(size.height, size.width), edge};
}

/// How a tile lies on a resized picture: its left and top edge there, negative where it stands out.
struct Placement {
  Size resized;
  std::int64_t left = 0;
  std::int64_t top = 0;
};

/// The size in which a picture fills a canvas without changing its shape; the shorter side rounds up.
Size fitted(Size picture, Size canvas) {
  const double x = static_cast<double>(canvas.width) / static_cast<double>(picture.width);
  const double y = static_cast<double>(canvas.height) / static_cast<double>(picture.height);
  const auto scaled = [](std::int64_t side, double scale, std::int64_t most) {
    return std::min(static_cast<std::int64_t>(std::ceil(static_cast<double>(side) * scale)), most);
  };
  if (x < y) return {canvas.width, scaled(picture.height, x, canvas.height)};
  return {scaled(picture.width, y, canvas.width), canvas.height};
}

Placement place_grid_tile(Size picture, const ImageProcessing& processing, const TilePlan& plan,
                          std::int64_t index) {
  const Size canvas{plan.grid.width * plan.tile.width, plan.grid.height * plan.tile.height};
  const std::int64_t left = index % plan.grid.width * plan.tile.width;
  const std::int64_t top = index / plan.grid.width * plan.tile.height;
  if (processing.tiling == Tiling::dynamic) return {canvas, left, top};
  // An odd remainder of the padding goes to the right and the bottom.
  const Size size = fitted(picture, canvas);
  return {size, left - (canvas.width - size.width) / 2, top - (canvas.height - size.height) / 2};
}

Placement place_tile(Size picture, const ImageProcessing& processing, const TilePlan& plan,
                     std::int64_t index) {
  if (processing.tiling == Tiling::single) {
    const Size size = resized(picture, processing);
    return {size, floor_half(size.width - plan.tile.width), floor_half(size.height - plan.tile.height)};
  }
  const std::int64_t whole = plan.whole == WholePicture::first  ? 0
                             : plan.whole == WholePicture::last ? plan.n_tiles() - 1
                                                                : -1;
  if (index == whole) return {plan.tile, 0, 0};
  return place_grid_tile(picture, processing, plan, plan.whole == WholePicture::first ? index - 1 : index);
}

/// One axis: the part [first, first + count) of the resized picture that the tile shows.
struct Shown {
  std::int64_t first, count;

  Shown(std::int64_t picture, std::int64_t tile, std::int64_t offset)
      : first(std::max<std::int64_t>(offset, 0)),
        count(std::max<std::int64_t>(std::min(picture, offset + tile) - first, 0)) {}
};

/// Normalised values of the 256 levels of one channel: rescaled in double, the rest in float.
std::array<float, 256> levels(const ImageProcessing& processing, std::size_t channel) {
  std::array<float, 256> values{};
  const auto mean = static_cast<float>(processing.mean[channel]);
  const auto std = static_cast<float>(processing.std[channel]);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = (static_cast<float>(static_cast<double>(i) * processing.rescale_factor) - mean) / std;
  }
  return values;
}

}  // namespace

void process_tile(const Image& image, const ImageProcessing& processing, std::int64_t index,
                  std::span<float> out) {
  const TilePlan plan = plan_tiles({image.width(), image.height()}, processing);
  if (out.size() != plan.tile_values() || index < 0 || index >= plan.n_tiles()) {
    fail(ErrorCode::internal, "process_tile: tile {} of {}, room for {} of {} values", index, plan.n_tiles(),
         out.size(), plan.tile_values());
  }
  const Canvas canvas = canvas_of(image, processing);
  const Placement placed = place_tile(canvas.size, processing, plan, index);
  const Shown x(placed.resized.width, plan.tile.width, placed.left);
  const Shown y(placed.resized.height, plan.tile.height, placed.top);
  std::vector<std::uint8_t> pixels;
  if (x.count > 0 && y.count > 0) {
    pixels = resize(canvas, placed.resized, processing.filter, {x.first, y.first, {x.count, y.count}});
  }

  const auto plane = static_cast<std::size_t>(plan.tile.width * plan.tile.height);
  for (std::size_t c = 0; c < 3; ++c) {
    const std::array<float, 256> level = levels(processing, c);
    const std::span<float> values = out.subspan(c * plane, plane);
    std::fill(values.begin(), values.end(), level[0]);
    if (pixels.empty()) continue;
    for (std::int64_t row = 0; row < y.count; ++row) {
      const std::int64_t to = (y.first + row - placed.top) * plan.tile.width + x.first - placed.left;
      for (std::int64_t column = 0; column < x.count; ++column) {
        const auto from = static_cast<std::size_t>((row * x.count + column) * 3) + c;
        values[static_cast<std::size_t>(to + column)] = level[pixels[from]];
      }
    }
  }
}

}  // namespace galago::vision
