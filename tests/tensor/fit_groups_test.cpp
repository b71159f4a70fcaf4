// Weights that are rounded once keep what is zero, and lose little by it.
#include "tensor/fit_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/random.h"
#include "tensor/grouped.h"

namespace galago {
namespace {

using Encode = bool (*)(const Grouped&, std::span<const float>, std::span<std::byte>);

double squared_error(Encode encode, const Grouped& format, const std::vector<float>& row) {
  const auto cols = static_cast<std::int64_t>(row.size());
  std::vector<std::byte> record(layout_of(format, cols).row_bytes);
  EXPECT_TRUE(encode(format, row, record));
  std::vector<float> back(row.size());
  decode_row(format, record, back);
  double sum = 0;
  for (std::size_t i = 0; i < row.size(); ++i) sum += std::pow(back[i] - row[i], 2);
  return sum;
}

TEST(FittedGroups, KeepZeroWhereTheQuickWayMovesIt) {
  const Grouped format{4, 32, DType::f16, GroupOffset::minimum};
  auto row = testing::random_floats(1024, 7);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = i % 3 == 0 ? 0 : row[i] + 0.1F;
  const auto farthest_zero = [&](Encode encode) {
    std::vector<std::byte> record(layout_of(format, 1024).row_bytes);
    EXPECT_TRUE(encode(format, row, record));
    std::vector<float> back(row.size());
    decode_row(format, record, back);
    float farthest = 0;
    for (std::size_t i = 0; i < row.size(); i += 3) farthest = std::max(farthest, std::abs(back[i]));
    return farthest;
  };
  EXPECT_LT(farthest_zero(encode_weights), 1e-3F);
  EXPECT_GT(farthest_zero(encode_row), 1e-2F);
}

TEST(FittedGroups, HaveLittleMoreErrorThanGroupsWithoutZeroOrLess) {
  for (const int group : {32, 64, 128}) {
    const Grouped format{4, group, DType::f16, GroupOffset::minimum};
    for (const std::int64_t cols : {1, 31, 64, 100, 1024}) {
      auto row = testing::random_floats(static_cast<std::size_t>(cols), 7);
      const double quick = squared_error(encode_row, format, row);
      EXPECT_LE(squared_error(encode_weights, format, row), 1.5 * quick + 1e-9) << group << " " << cols;
      if (cols < 1024) continue;
      // Values as weights have them: many near zero, few far away.
      for (float& value : row) value *= value * value;
      EXPECT_LT(squared_error(encode_weights, format, row), 0.95 * squared_error(encode_row, format, row))
          << group;
    }
  }
}

TEST(FittedGroups, HoldWhatLiesOnAGridWithoutLoss) {
  const Grouped format{4, 32, DType::f16, GroupOffset::minimum};
  std::vector<float> row(96);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = 0.25F * static_cast<float>(i * 7 % 16) - 1.5F;
  EXPECT_EQ(squared_error(encode_weights, format, row), 0);
  std::fill(row.begin(), row.end(), 0.0F);
  EXPECT_EQ(squared_error(encode_weights, format, row), 0);
}

TEST(FittedGroups, WithoutMinimaHaveLessErrorThanTheQuickOnes) {
  for (const int group : {32, 64, 128}) {
    const Grouped format{4, group, DType::f16, GroupOffset::none};
    for (const std::int64_t cols : {1, 31, 64, 100, 1024}) {
      auto row = testing::random_floats(static_cast<std::size_t>(cols), 7);
      for (float& value : row) value *= value * value;
      const double quick = squared_error(encode_row, format, row);
      EXPECT_LE(squared_error(encode_weights, format, row), quick + 1e-9) << group << " " << cols;
      if (cols < 1024) continue;
      EXPECT_LT(squared_error(encode_weights, format, row), 0.95 * quick) << group;
    }
  }
}

TEST(FittedGroups, WithoutMinimaHoldAGridExactly) {
  const Grouped format{4, 32, DType::f16, GroupOffset::none};
  std::vector<float> row(96);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = 0.25F * (static_cast<float>(i * 7 % 16) - 8);
  EXPECT_EQ(squared_error(encode_weights, format, row), 0);
  std::fill(row.begin(), row.end(), 0.0F);
  EXPECT_EQ(squared_error(encode_weights, format, row), 0);
}

TEST(FittedGroups, AreFittedAsEachWouldBeAlone) {
  constexpr std::int64_t cols =
      9 * 32 + 7;  // some fitted side by side, then fewer, then one that is not whole
  auto row = testing::random_floats(cols, 11);
  for (std::size_t i = 64; i < 96; ++i) row[i] = i % 2 == 0 ? 0.0F : -0.0F;
  for (std::size_t i = 96; i < 128; ++i) row[i] *= row[i] * 1e-6F;
  for (const GroupOffset offset : {GroupOffset::minimum, GroupOffset::none}) {
    const Grouped format{4, 32, DType::f16, offset};
    const auto values_of = [&](std::span<const float> part) {
      std::vector<std::byte> record(layout_of(format, static_cast<std::int64_t>(part.size())).row_bytes);
      EXPECT_TRUE(encode_weights(format, part, record));
      std::vector<float> back(part.size());
      decode_row(format, record, back);
      return back;
    };
    const std::vector<float> together = values_of(row);
    std::vector<float> alone;
    for (std::size_t first = 0; first < row.size(); first += 32) {
      const auto part =
          values_of(std::span(row).subspan(first, std::min<std::size_t>(32, row.size() - first)));
      alone.insert(alone.end(), part.begin(), part.end());
    }
    EXPECT_EQ(together, alone);
  }
}

TEST(FittedGroups, OfEightBitsAreRoundedAsEver) {
  const auto row = testing::random_floats(100, 3);
  const Grouped format{8, 32, DType::f16, GroupOffset::none};
  std::vector<std::byte> quick(layout_of(format, 100).row_bytes), fitted(quick.size());
  EXPECT_TRUE(encode_row(format, row, quick));
  EXPECT_TRUE(encode_weights(format, row, fitted));
  EXPECT_EQ(quick, fitted);
}

TEST(FittedGroups, RefuseWhatTheyCannotHold) {
  for (const GroupOffset offset : {GroupOffset::minimum, GroupOffset::none}) {
    const Grouped format{4, 32, DType::f16, offset};
    std::vector<std::byte> record(layout_of(format, 32).row_bytes);
    std::vector<float> row(32, 1.0F);
    row[5] = std::numeric_limits<float>::infinity();
    EXPECT_FALSE(encode_weights(format, row, record));
    row[5] = 1e30F;
    EXPECT_FALSE(encode_weights(format, row, record)) << "the scale is beyond FP16";
    row[5] = std::numeric_limits<float>::denorm_min();
    row[6] = 0;
    EXPECT_TRUE(encode_weights(format, row, record));
  }
}

}  // namespace
}  // namespace galago
