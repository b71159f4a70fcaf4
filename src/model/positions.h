// Position embeddings of a grid of patches, resampled to another grid.
#pragma once

#include <cstdint>
#include <span>

namespace galago::model {

/// Two tables of learned positions: the class token's row, then side * side rows, line by line.
struct PositionGrids {
  std::int64_t from_side;
  std::int64_t to_side;
  std::int64_t width;  ///< values of a row
};

/// Bicubic without antialiasing, borders repeated (Keys' kernel with a = -0.75 and pixel centres at halves),
/// as the towers were trained; the class token's row stays. Tables are [1 + side * side, width].
void resample_positions(std::span<const float> from, const PositionGrids& grids, std::span<float> to);

}  // namespace galago::model
