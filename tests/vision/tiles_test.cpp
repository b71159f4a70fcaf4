// Grids, tiles and token rows of pictures of every shape, from their sizes alone.
#include "vision/tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "galago/error.h"

namespace galago::vision {
namespace {

ImageProcessing anyres(std::int64_t tile, std::vector<Size> canvases) {
  ImageProcessing processing;
  processing.tiling = Tiling::anyres;
  processing.tile = {tile, tile};
  processing.canvases = std::move(canvases);
  return processing;
}

ImageProcessing dynamic(std::int64_t tile, std::int64_t min, std::int64_t max) {
  ImageProcessing processing;
  processing.tiling = Tiling::dynamic;
  processing.tile = {tile, tile};
  processing.min_grid_tiles = min;
  processing.max_grid_tiles = max;
  processing.thumbnail = true;
  return processing;
}

std::string grid_of(Size picture, const ImageProcessing& processing) {
  const TilePlan plan = plan_tiles(picture, processing);
  return std::to_string(plan.grid.width) + "x" + std::to_string(plan.grid.height);
}

TEST(Tiles, TokenCountsOfLlava16EqualTheReferenceForAllSizes) {
  std::ifstream file(GALAGO_GOLDENS_DIR "/llava-1.6-token-counts.json");
  const auto table = nlohmann::json::parse(file);
  std::vector<Size> canvases;
  for (const auto& pair : table.at("pinpoints_hw")) canvases.push_back({pair[1], pair[0]});
  const ImageProcessing processing = anyres(336, canvases);
  ASSERT_EQ(table.at("rows").size(), 200U);
  for (const auto& row : table.at("rows")) {
    const Size picture{row[0], row[1]};
    const auto rows = embedding_rows(picture, plan_tiles(picture, processing), 24 * 24, Assembly::unpadded);
    // The table counts the class token of the whole picture, which the published models drop.
    EXPECT_EQ(static_cast<std::int64_t>(rows.size()) + 1, row[2].get<std::int64_t>())
        << picture.width << "x" << picture.height;
  }
}

TEST(Tiles, RowsOfLlava16AreTheWholePictureThenTheUnpaddedGridLineByLine) {
  // 2 by 1 tiles of 2 by 2 patches; a picture of 8:1 leaves the middle of 2 lines, an even padding of none.
  const ImageProcessing processing = anyres(4, {{8, 4}});
  const TilePlan plan = plan_tiles({8, 4}, processing);
  EXPECT_EQ(plan.n_tiles(), 3);
  EXPECT_EQ(embedding_rows({8, 4}, plan, 4, Assembly::unpadded),
            (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 8, 9, newline_row, 6, 7, 10, 11, newline_row}));
  // A high picture: of the 4 columns the middle two are left.
  EXPECT_EQ(embedding_rows({4, 4}, plan, 4, Assembly::unpadded),
            (std::vector<std::int32_t>{0, 1, 2, 3, 5, 8, newline_row, 7, 10, newline_row}));
  // One that is too thin for any patch leaves the newlines.
  EXPECT_EQ(embedding_rows({1, 9}, plan, 4, Assembly::unpadded),
            (std::vector<std::int32_t>{0, 1, 2, 3, newline_row, newline_row}));
}

TEST(Tiles, NoRowIsTakenTwiceAndAllLieWithinTheTiles) {
  const ImageProcessing processing = anyres(28, {{28, 56}, {56, 28}, {56, 56}, {84, 28}, {28, 84}});
  for (std::int64_t width = 1; width < 200; width += 7) {
    for (std::int64_t height = 1; height < 200; height += 11) {
      const TilePlan plan = plan_tiles({width, height}, processing);
      std::set<std::int32_t> seen;
      for (const std::int32_t row : embedding_rows({width, height}, plan, 4, Assembly::unpadded)) {
        if (row == newline_row) continue;
        EXPECT_TRUE(seen.insert(row).second);
        EXPECT_LT(row, plan.n_tiles() * 4);
      }
    }
  }
}

TEST(Tiles, DynamicGridsHaveTheNearestAspectRatio) {
  const ImageProcessing processing = dynamic(448, 1, 12);
  EXPECT_EQ(grid_of({800, 600}, processing), "4x3");
  EXPECT_EQ(grid_of({3000, 100}, processing), "12x1");
  EXPECT_EQ(grid_of({100, 3000}, processing), "1x12");
  EXPECT_EQ(plan_tiles({800, 600}, processing).n_tiles(), 13);
  EXPECT_EQ(plan_tiles({800, 600}, processing).whole, WholePicture::last);
}

TEST(Tiles, OfGridsOfOneRatioALargerOneNeedsMoreThanHalfOfItsPixels) {
  const ImageProcessing processing = dynamic(100, 1, 12);
  EXPECT_EQ(grid_of({1, 1}, processing), "1x1");
  EXPECT_EQ(grid_of({141, 141}, processing), "1x1");  // 19,881 of the 20,000 that 2x2 asks for
  EXPECT_EQ(grid_of({142, 142}, processing), "2x2");
  EXPECT_EQ(grid_of({300, 300}, processing), "3x3");
  EXPECT_EQ(plan_tiles({1, 1}, processing).n_tiles(), 1) << "one tile has no thumbnail";
}

TEST(Tiles, DynamicGridsKeepTheirMinimum) {
  EXPECT_EQ(grid_of({1, 1}, dynamic(100, 4, 6)), "2x2");
}

TEST(Tiles, ALimitCountsTheWholePicture) {
  ImageProcessing processing = dynamic(448, 1, 12);
  limit_tiles(processing, 7);
  EXPECT_EQ(plan_tiles({3000, 100}, processing).n_tiles(), 7);
  limit_tiles(processing, 2);  // two tiles would be three with the thumbnail
  EXPECT_EQ(plan_tiles({3000, 100}, processing).n_tiles(), 1);

  processing = anyres(336, {{672, 336}, {672, 672}});
  limit_tiles(processing, 3);
  EXPECT_EQ(plan_tiles({500, 500}, processing).n_tiles(), 3);
  limit_tiles(processing, 1);
  const TilePlan plan = plan_tiles({500, 500}, processing);
  EXPECT_EQ(plan.n_tiles(), 1);
  const auto rows = embedding_rows({500, 500}, plan, 576, Assembly::unpadded);
  EXPECT_EQ(rows.size(), 577U);
  EXPECT_EQ(rows.back(), newline_row);
}

TEST(Tiles, NoPictureHasMoreThanTheLargest) {
  for (const ImageProcessing& processing :
       {anyres(28, {{28, 56}, {56, 56}, {28, 112}}), dynamic(28, 1, 7), dynamic(28, 3, 5)}) {
    const Assembly assembly = processing.tiling == Tiling::anyres ? Assembly::unpadded : Assembly::in_order;
    const auto tokens = [&](Size picture) {
      return embedding_rows(picture, plan_tiles(picture, processing), 4, assembly).size();
    };
    std::int64_t most_tiles = 0;
    std::size_t most_tokens = 0;
    for (const Size& picture : largest_pictures(processing)) {
      most_tiles = std::max(most_tiles, plan_tiles(picture, processing).n_tiles());
      most_tokens = std::max(most_tokens, tokens(picture));
    }
    for (std::int64_t width = 1; width < 400; width += 13) {
      for (std::int64_t height = 1; height < 400; height += 17) {
        EXPECT_LE(plan_tiles({width, height}, processing).n_tiles(), most_tiles);
        EXPECT_LE(tokens({width, height}), most_tokens);
      }
    }
  }
}

}  // namespace
}  // namespace galago::vision
