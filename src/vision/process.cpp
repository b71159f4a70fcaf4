// Resize and cut on 8-bit pixels, then rescale and normalise in the order and precision of the reference.
#include "vision/process.h"

#include <algorithm>
#include <cstddef>

#include "base/fail.h"

namespace galago::vision {
namespace {

std::int64_t floor_half(std::int64_t value) {
  return value >= 0 ? value / 2 : -((1 - value) / 2);
}

Canvas canvas_of(const Image& image, const ImageProcessing& processing) {
  Canvas canvas{image, {image.width(), image.height()}};
  if (processing.fit != Fit::pad_square) return canvas;
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

/// One axis of a centre crop: `offset` of the tile in the resized picture (negative where it stands out), and
/// the part [first, first + count) of the resized picture that the tile shows.
struct Crop {
  std::int64_t offset, first, count;

  Crop(std::int64_t picture, std::int64_t tile)
      : offset(floor_half(picture - tile)),
        first(std::max<std::int64_t>(offset, 0)),
        count(std::min(picture, tile)) {}
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

TilePlan plan_tiles(Size picture, const ImageProcessing& processing) {
  const auto sensible = [](Size size) {
    constexpr std::int64_t max_side = 16'384;
    return size.width > 0 && size.height > 0 && size.width <= max_side && size.height <= max_side;
  };
  const std::int64_t edge = processing.shortest_edge;
  if (!sensible(processing.tile) || (processing.fit != Fit::stretch && !sensible({edge, edge}))) {
    fail(ErrorCode::model, "image processing to {}x{} pixels by a shortest edge of {} is not possible",
         processing.tile.width, processing.tile.height, edge);
  }
  if (picture.width < 1 || picture.height < 1) {
    fail(ErrorCode::input, "a picture of {}x{} pixels cannot be processed", picture.width, picture.height);
  }
  return {1, processing.tile};
}

void process(const Image& image, const ImageProcessing& processing, std::span<float> out) {
  const TilePlan plan = plan_tiles({image.width(), image.height()}, processing);
  if (out.size() != plan.n_values()) {
    fail(ErrorCode::internal, "process: room for {} values, and {} are written", out.size(), plan.n_values());
  }
  const Canvas canvas = canvas_of(image, processing);
  const Size size = resized(canvas.size, processing);
  const Crop x(size.width, plan.tile.width), y(size.height, plan.tile.height);
  const auto pixels = resize(canvas, size, processing.filter, {x.first, y.first, {x.count, y.count}});

  const auto plane = static_cast<std::size_t>(plan.tile.width * plan.tile.height);
  for (std::size_t c = 0; c < 3; ++c) {
    const std::array<float, 256> level = levels(processing, c);
    const std::span<float> values = out.subspan(c * plane, plane);
    std::fill(values.begin(), values.end(), level[0]);
    for (std::int64_t row = 0; row < y.count; ++row) {
      const std::int64_t to = (y.first + row - y.offset) * plan.tile.width + x.first - x.offset;
      for (std::int64_t column = 0; column < x.count; ++column) {
        const auto from = static_cast<std::size_t>((row * x.count + column) * 3) + c;
        values[static_cast<std::size_t>(to + column)] = level[pixels[from]];
      }
    }
  }
}

}  // namespace galago::vision
