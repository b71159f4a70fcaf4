// Which tiles a picture becomes and which rows of their embeddings the decoder gets: from its size alone, so
// that memory is settled before there are pixels.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "vision/resize.h"

namespace galago::vision {

/// How a picture of any shape comes into a single tile.
enum class Fit {
  crop_center,  ///< the shortest edge is resized, the centre cut out; what is missing is black
  pad_square,   ///< padded to a square with the mean colour, then as crop_center
  stretch,      ///< resized to the tile; the aspect ratio is not kept
};

enum class Tiling {
  single,   ///< one tile a picture, by its Fit
  anyres,   ///< LLaVA-1.6: the whole picture stretched to a tile, then the tiles of a black canvas that it
            ///< fits
  dynamic,  ///< InternVL: stretched to a grid of the nearest aspect ratio; then the whole, where there are
            ///< many
};

struct ImageProcessing {
  Fit fit = Fit::crop_center;
  Filter filter = Filter::bicubic;
  std::int64_t shortest_edge = 0;  ///< pixels, before the centre is cut out; stretch does not use it
  Size tile;                       ///< pixels
  double rescale_factor = 1.0 / 255;
  std::array<double, 3> mean{};
  std::array<double, 3> std{1, 1, 1};
  Tiling tiling = Tiling::single;
  std::vector<Size> canvases;       ///< anyres: pixels, each a whole number of tiles
  std::int64_t min_grid_tiles = 1;  ///< dynamic: of the grid
  std::int64_t max_grid_tiles = 1;
  bool thumbnail = false;  ///< dynamic: a grid of more than one tile is followed by the whole picture
};

/// Where the tile with the whole picture stands among the tiles.
enum class WholePicture { none, first, last };

struct TilePlan {
  Size tile;  ///< pixels
  Size grid;  ///< tiles across and down; 0 by 0 where there is only the whole picture
  WholePicture whole = WholePicture::none;

  std::int64_t n_tiles() const { return grid.width * grid.height + (whole == WholePicture::none ? 0 : 1); }
  /// Pixel values of one tile.
  std::size_t tile_values() const { return static_cast<std::size_t>(3 * tile.width * tile.height); }
};

/// The tiles of a picture. Throws Error{model} where the processing is not possible at all.
TilePlan plan_tiles(Size picture, const ImageProcessing& processing);

/// Keeps pictures within `max_tiles` tiles, the whole picture's included; at least one remains.
void limit_tiles(ImageProcessing& processing, std::int64_t max_tiles);

/// Picture sizes among which are one with the most tiles and one with the most tokens of all.
std::vector<Size> largest_pictures(const ImageProcessing& processing);

/// How a picture's token rows are put together from its tiles' embeddings.
enum class Assembly {
  in_order,  ///< all rows, tile after tile
  unpadded,  ///< LLaVA-1.6: the whole picture's tile; then the grid as one picture, line by line, without the
             ///< lines and columns that hold only padding, a newline after each line
};

/// Stands for the newline in embedding_rows().
inline constexpr std::int32_t newline_row = -1;

/// For each image token the row of the tiles' embeddings [n_tiles, tokens_per_tile] that it is, or
/// newline_row.
std::vector<std::int32_t> embedding_rows(Size picture, const TilePlan& plan, std::int64_t tokens_per_tile,
                                         Assembly assembly);

}  // namespace galago::vision
