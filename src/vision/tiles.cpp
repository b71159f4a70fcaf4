// The choice of grids, with the references' arithmetic: their rounding decides how many tokens there are.
#include "vision/tiles.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/fail.h"

namespace galago::vision {
namespace {

/// The canvas that keeps most of the picture's pixels, and of those the one with the least waste
/// (select_best_resolution of LLaVA).
Size choose_canvas(Size picture, const std::vector<Size>& canvases) {
  Size best;
  std::int64_t most_kept = 0;
  std::int64_t least_wasted = std::numeric_limits<std::int64_t>::max();
  for (const Size& canvas : canvases) {
    const double scale = std::min(static_cast<double>(canvas.width) / static_cast<double>(picture.width),
                                  static_cast<double>(canvas.height) / static_cast<double>(picture.height));
    const auto scaled = [scale](std::int64_t side) {
      return static_cast<std::int64_t>(static_cast<double>(side) * scale);
    };
    const std::int64_t kept =
        std::min(scaled(picture.width) * scaled(picture.height), picture.width * picture.height);
    const std::int64_t wasted = canvas.width * canvas.height - kept;
    if (kept > most_kept || (kept == most_kept && wasted < least_wasted)) {
      best = canvas;
      most_kept = kept;
      least_wasted = wasted;
    }
  }
  return best;
}

/// Every grid within the limits, smaller ones first, of equal ones the narrower.
std::vector<Size> dynamic_grids(const ImageProcessing& processing) {
  std::vector<Size> grids;
  for (std::int64_t width = 1; width <= processing.max_grid_tiles; ++width) {
    for (std::int64_t height = 1; width * height <= processing.max_grid_tiles; ++height) {
      if (width * height >= processing.min_grid_tiles) grids.push_back({width, height});
    }
  }
  std::stable_sort(grids.begin(), grids.end(),
                   [](Size a, Size b) { return a.width * a.height < b.width * b.height; });
  return grids;
}

/// The grid of the nearest aspect ratio. A larger one of the same distance wins where the picture has more
/// than half of its pixels (find_closest_aspect_ratio of InternVL).
Size choose_grid(Size picture, const ImageProcessing& processing) {
  const double aspect = static_cast<double>(picture.width) / static_cast<double>(picture.height);
  const double area = static_cast<double>(picture.width) * static_cast<double>(picture.height);
  const double half_tile = 0.5 * static_cast<double>(processing.tile.width * processing.tile.height);
  Size best{1, 1};
  double least = std::numeric_limits<double>::infinity();
  for (const Size& grid : dynamic_grids(processing)) {
    const double distance =
        std::abs(aspect - static_cast<double>(grid.width) / static_cast<double>(grid.height));
    const bool fills = area > half_tile * static_cast<double>(grid.width * grid.height);
    if (distance < least || (distance == least && fills)) best = grid;
    least = std::min(least, distance);
  }
  return best;
}

void check_processing(Size picture, const ImageProcessing& processing) {
  const auto sensible = [](Size size) {
    constexpr std::int64_t max_side = 16'384;
    return size.width > 0 && size.height > 0 && size.width <= max_side && size.height <= max_side;
  };
  const std::int64_t edge = processing.shortest_edge;
  const bool uses_edge = processing.tiling == Tiling::single && processing.fit != Fit::stretch;
  if (!sensible(processing.tile) || (uses_edge && !sensible({edge, edge}))) {
    fail(ErrorCode::model, "image processing to {}x{} pixels by a shortest edge of {} is not possible",
         processing.tile.width, processing.tile.height, edge);
  }
  if (picture.width < 1 || picture.height < 1) {
    fail(ErrorCode::input, "a picture of {}x{} pixels cannot be processed", picture.width, picture.height);
  }
}

/// The part [first, first + count) of a line or column of patches that the picture reaches.
struct Visible {
  std::int64_t first;
  std::int64_t count;
};

/// `patches` are on this axis, `other_patches` on the one that the picture fills.
Visible visible(std::int64_t patches, std::int64_t picture, std::int64_t other_patches,
                std::int64_t other_picture) {
  const double size = static_cast<double>(picture) *
                      (static_cast<double>(other_patches) / static_cast<double>(other_picture));
  // int(round(size, 7)): a size that misses a whole number by rounding errors only is that number.
  const auto shown = static_cast<std::int64_t>(std::round(size * 1e7) / 1e7);
  const std::int64_t padding = std::max<std::int64_t>(patches - shown, 0) / 2;
  return {padding, patches - 2 * padding};
}

}  // namespace

TilePlan plan_tiles(Size picture, const ImageProcessing& processing) {
  check_processing(picture, processing);
  const Size tile = processing.tile;
  switch (processing.tiling) {
    case Tiling::anyres: {
      const Size canvas = choose_canvas(picture, processing.canvases);
      return {tile, {canvas.width / tile.width, canvas.height / tile.height}, WholePicture::first};
    }
    case Tiling::dynamic: {
      const Size grid = choose_grid(picture, processing);
      const bool with_thumbnail = processing.thumbnail && grid.width * grid.height > 1;
      return {tile, grid, with_thumbnail ? WholePicture::last : WholePicture::none};
    }
    case Tiling::single:
      break;
  }
  return {tile, {1, 1}, WholePicture::none};
}

void limit_tiles(ImageProcessing& processing, std::int64_t max_tiles) {
  const Size tile = processing.tile;
  std::erase_if(processing.canvases, [&](Size canvas) {
    return canvas.width / tile.width * (canvas.height / tile.height) + 1 > max_tiles;
  });
  // A grid of two tiles is three with the thumbnail; one tile has none.
  const std::int64_t in_grid = processing.thumbnail ? std::max<std::int64_t>(max_tiles - 1, 1) : max_tiles;
  processing.max_grid_tiles = std::min(processing.max_grid_tiles, in_grid);
  processing.min_grid_tiles = std::min(processing.min_grid_tiles, processing.max_grid_tiles);
}

std::vector<Size> largest_pictures(const ImageProcessing& processing) {
  if (processing.tiling == Tiling::dynamic)
    return {{processing.tile.width * processing.max_grid_tiles, processing.tile.height}};
  if (processing.tiling == Tiling::anyres && !processing.canvases.empty()) return processing.canvases;
  return {processing.tile};
}

std::vector<std::int32_t> embedding_rows(Size picture, const TilePlan& plan, std::int64_t tokens_per_tile,
                                         Assembly assembly) {
  const bool only_whole = plan.whole == WholePicture::first && plan.grid.width == 0;
  if (assembly == Assembly::in_order || only_whole) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(plan.n_tiles() * tokens_per_tile));
    std::iota(rows.begin(), rows.end(), 0);
    if (assembly == Assembly::unpadded) rows.push_back(newline_row);
    return rows;
  }
  const auto side = static_cast<std::int64_t>(std::sqrt(static_cast<double>(tokens_per_tile)));
  const std::int64_t across = plan.grid.width * side;
  const std::int64_t down = plan.grid.height * side;
  Visible columns{0, across};
  Visible lines{0, down};
  const double aspect = static_cast<double>(picture.width) / static_cast<double>(picture.height);
  if (aspect > static_cast<double>(across) / static_cast<double>(down)) {
    lines = visible(down, picture.height, across, picture.width);
  } else {
    columns = visible(across, picture.width, down, picture.height);
  }
  std::vector<std::int32_t> rows(static_cast<std::size_t>(tokens_per_tile));
  std::iota(rows.begin(), rows.end(), 0);
  for (std::int64_t y = lines.first; y < lines.first + lines.count; ++y) {
    for (std::int64_t x = columns.first; x < columns.first + columns.count; ++x) {
      const std::int64_t tile = 1 + y / side * plan.grid.width + x / side;
      rows.push_back(static_cast<std::int32_t>(tile * tokens_per_tile + y % side * side + x % side));
    }
    rows.push_back(newline_row);
  }
  return rows;
}

}  // namespace galago::vision
