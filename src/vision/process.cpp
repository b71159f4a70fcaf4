// Resize and cut on 8-bit pixels, then rescale and normalise in the order and precision of the reference.
#include "vision/process.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
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

/// Normalised values of the 256 levels of each channel: rescaled in double, the rest in float.
using Levels = std::array<std::array<float, 256>, 3>;

Levels levels_of(const ImageProcessing& processing) {
  Levels levels{};
  for (std::size_t c = 0; c < levels.size(); ++c) {
    const auto mean = static_cast<float>(processing.mean[c]);
    const auto std = static_cast<float>(processing.std[c]);
    for (std::size_t i = 0; i < levels[c].size(); ++i) {
      levels[c][i] = (static_cast<float>(static_cast<double>(i) * processing.rescale_factor) - mean) / std;
    }
  }
  return levels;
}

/// A tile in the making, some of its rows at a time.
class TileRows {
 public:
  TileRows(const Canvas& canvas, const ImageProcessing& processing, const Placement& placed,
           const kernels::KernelTable& kernels)
      : tile_(processing.tile),
        placed_(placed),
        x_(placed.resized.width, tile_.width, placed.left),
        y_(placed.resized.height, tile_.height, placed.top) {
    if (x_.count == 0 || y_.count == 0) return;
    resampling_.emplace(canvas, placed.resized, processing.filter,
                        Window{x_.first, y_.first, {x_.count, y_.count}}, kernels);
  }

  /// What a thread needs to make bands.
  std::optional<Resampling::Scratch> scratch() const {
    if (!resampling_) return std::nullopt;
    return std::optional<Resampling::Scratch>(std::in_place, *resampling_, band_rows);
  }

  /// Rows [first, first + count) of all channels of the tile, `out`.
  void write(std::int64_t first, std::int64_t count, const Levels& levels,
             std::optional<Resampling::Scratch>& scratch, std::span<float> out) const {
    const std::int64_t plane = tile_.width * tile_.height;
    if (x_.count < tile_.width || y_.count < tile_.height) {
      for (std::size_t c = 0; c < levels.size(); ++c) {
        const auto from = out.begin() + static_cast<std::int64_t>(c) * plane + first * tile_.width;
        std::fill_n(from, count * tile_.width, levels[c][0]);
      }
    }
    // What is shown of the picture in these rows.
    const std::int64_t top = y_.first - placed_.top;
    const std::int64_t begin = std::max(first, top), end = std::min(first + count, top + y_.count);
    if (!resampling_ || begin >= end) return;
    const std::span<const std::uint8_t> pixels = resampling_->rows(begin - top, end - begin, *scratch);
    const std::uint8_t* pixel = pixels.data();
    for (std::int64_t row = begin; row < end; ++row) {
      float* to = out.data() + row * tile_.width + x_.first - placed_.left;
      for (std::int64_t column = 0; column < x_.count; ++column, ++to, pixel += 3) {
        to[0] = levels[0][pixel[0]];
        to[plane] = levels[1][pixel[1]];
        to[2 * plane] = levels[2][pixel[2]];
      }
    }
  }

 private:
  Size tile_;
  Placement placed_;
  Shown x_, y_;
  std::optional<Resampling> resampling_;  // none where the tile shows nothing of the picture
};

}  // namespace

void process_tiles(const Image& image, const ImageProcessing& processing, std::int64_t first,
                   std::span<float> out, const Workers& workers) {
  const TilePlan plan = plan_tiles({image.width(), image.height()}, processing);
  const auto count = static_cast<std::int64_t>(out.size() / plan.tile_values());
  if (out.size() % plan.tile_values() != 0 || first < 0 || first + count > plan.n_tiles()) {
    fail(ErrorCode::internal, "process_tiles: tile {} of {} and those behind, {} values of {} a tile", first,
         plan.n_tiles(), out.size(), plan.tile_values());
  }
  const Canvas canvas = canvas_of(image, processing);
  const Levels levels = levels_of(processing);
  for (std::int64_t tile = 0; tile < count; ++tile) {
    const TileRows rows(canvas, processing, place_tile(canvas.size, processing, plan, first + tile),
                        workers.kernels);
    std::vector<std::optional<Resampling::Scratch>> scratch(
        static_cast<std::size_t>(workers.pool.n_threads()));
    for (auto& of_thread : scratch) of_thread = rows.scratch();
    const std::span<float> values =
        out.subspan(static_cast<std::size_t>(tile) * plan.tile_values(), plan.tile_values());
    const std::int64_t n_bands = (plan.tile.height + band_rows - 1) / band_rows;
    workers.pool.parallel_for(n_bands, [&](std::int64_t band, int thread) {
      const std::int64_t begin = band * band_rows;
      rows.write(begin, std::min(band_rows, plan.tile.height - begin), levels,
                 scratch[static_cast<std::size_t>(thread)], values);
    });
  }
}

}  // namespace galago::vision
