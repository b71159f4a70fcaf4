// The pipeline against the reference's pixel values, and its odd sizes.
#include "vision/process.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/cpu/kernel_choice.h"
#include "galago/error.h"
#include "support/golden.h"

namespace galago::vision {
namespace {

/// Two threads with the machine's kernels.
Workers workers() {
  static ThreadPool pool(2);
  return {pool, backend::choose_kernels()};
}

ImageProcessing clip(Fit fit) {
  ImageProcessing processing;
  processing.fit = fit;
  processing.shortest_edge = 56;
  processing.tile = {56, 56};
  processing.rescale_factor = 0.00392156862745098;
  processing.mean = {0.48145466, 0.4578275, 0.40821073};
  processing.std = {0.26862954, 0.26130258, 0.27577711};
  return processing;
}

void expect_golden_pixels(const std::string& folder, Fit fit) {
  const testing::Golden golden(std::string(GALAGO_GOLDENS_DIR "/") + folder);
  const ImageProcessing processing = clip(fit);
  DecodeOptions options;
  options.exif = ExifOrientation::ignore;
  int n_compared = 0;
  for (const auto& entry : golden.cases()) {
    const std::string name = entry.at("name");
    if (!golden.has(name + ".pixel_values")) continue;
    std::span<const float> expected = golden.tensor(name + ".pixel_values").floats();
    for (const std::string file : entry.at("images")) {
      const Image image = load_image(std::string(GALAGO_GOLDENS_DIR "/images/") + file, options);
      const TilePlan plan = plan_tiles({image.width(), image.height()}, processing);
      std::vector<float> values;
      for (std::int64_t tile = 0; tile < plan.n_tiles(); ++tile) {
        values.resize(values.size() + plan.tile_values());
        process_tiles(image, processing, tile, std::span(values).last(plan.tile_values()), workers());
      }
      ASSERT_GE(expected.size(), values.size());
      float worst = 0;
      for (std::size_t i = 0; i < values.size(); ++i)
        worst = std::max(worst, std::abs(values[i] - expected[i]));
      EXPECT_LE(worst, 1e-6f) << folder << ' ' << name << ' ' << file;
      expected = expected.subspan(values.size());
      ++n_compared;
    }
    EXPECT_TRUE(expected.empty());
  }
  EXPECT_GE(n_compared, 4);
}

TEST(Process, CropCenterEqualsTheReference) {
  expect_golden_pixels("llava-1.5", Fit::crop_center);
}

TEST(Process, PadSquareEqualsTheReference) {
  expect_golden_pixels("llava-1.5-original", Fit::pad_square);
}

TEST(Process, WhatTheCropLacksIsBlack) {
  ImageProcessing processing;
  processing.shortest_edge = 2;
  processing.tile = {5, 4};
  const Image white = make_image(2, 2, std::vector<std::uint8_t>(12, 255));
  std::vector<float> values(60);
  process_tiles(white, processing, 0, values, workers());
  // The reference pads by the ceiling of half of what is missing on the left and on the top.
  for (std::size_t i = 0; i < 20; ++i) {
    const std::size_t x = i % 5, y = i / 5;
    EXPECT_EQ(values[i], x >= 2 && x < 4 && y >= 1 && y < 3 ? 1.0f : 0.0f) << x << ' ' << y;
  }
}

TEST(Process, TakesTheLongestThinPicture) {
  const std::int64_t side = 262'144;
  const Image wide = make_image(side, 1, std::vector<std::uint8_t>(static_cast<std::size_t>(side) * 3, 9));
  for (const Fit fit : {Fit::crop_center, Fit::pad_square, Fit::stretch}) {
    ImageProcessing processing = clip(fit);
    processing.shortest_edge = 14;
    processing.tile = {14, 14};
    std::vector<float> values(588, -100.0f);
    process_tiles(wide, processing, 0, values, workers());
    for (const float value : values) EXPECT_GT(value, -3.0f);
  }
}

TEST(Process, GivesTheSameHoweverManyThreadsAndTilesAtOnce) {
  DecodeOptions options;
  const Image image = load_image(GALAGO_GOLDENS_DIR "/images/wide.jpg", options);
  ImageProcessing processing = clip(Fit::stretch);
  processing.tiling = Tiling::dynamic;
  processing.tile = {70, 70};  // three bands, the last one short
  processing.max_grid_tiles = 6;
  processing.thumbnail = true;
  const TilePlan plan = plan_tiles({image.width(), image.height()}, processing);
  ASSERT_GT(plan.n_tiles(), 2);
  std::vector<float> alone(static_cast<std::size_t>(plan.n_tiles()) * plan.tile_values());
  ThreadPool one(1);
  for (std::int64_t tile = 0; tile < plan.n_tiles(); ++tile) {
    const std::span<float> to = std::span(alone).subspan(static_cast<std::size_t>(tile) * plan.tile_values());
    process_tiles(image, processing, tile, to.first(plan.tile_values()), {one, backend::choose_kernels()});
  }
  for (const int n_threads : {2, 5}) {
    ThreadPool pool(n_threads);
    std::vector<float> together(alone.size(), -100.0f);
    process_tiles(image, processing, 0, together, {pool, backend::choose_kernels()});
    EXPECT_EQ(together, alone) << n_threads;
  }
  EXPECT_THROW(process_tiles(image, processing, 1, alone, workers()), Error);
}

TEST(Process, RefusesSizesThatCannotBe) {
  ImageProcessing processing = clip(Fit::crop_center);
  processing.shortest_edge = 0;
  EXPECT_THROW(plan_tiles({10, 10}, processing), Error);
  EXPECT_THROW(plan_tiles({0, 10}, clip(Fit::stretch)), Error);
}

}  // namespace
}  // namespace galago::vision
