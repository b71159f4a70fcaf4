// Resampling of position embeddings against values of torch.nn.functional.interpolate.
#include "model/positions.h"

#include <gtest/gtest.h>

#include <vector>

namespace galago::model {
namespace {

/// A table of one value a row: the class token's, then the grid's.
std::vector<float> table(std::int64_t side) {
  std::vector<float> values{42};
  for (std::int64_t i = 0; i < side * side; ++i) values.push_back(static_cast<float>(i * 37 % 17 - 8) / 8);
  return values;
}

void expect_resampled(std::int64_t from_side, std::int64_t to_side, const std::vector<float>& expected) {
  std::vector<float> to(static_cast<std::size_t>(1 + to_side * to_side));
  resample_positions(table(from_side), {from_side, to_side, 1}, to);
  EXPECT_EQ(to[0], 42);
  ASSERT_EQ(expected.size() + 1, to.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(to[i + 1], expected[i], 1e-6) << i;
}

TEST(Positions, ShrinkAsTheReferenceDoes) {
  expect_resampled(3, 2, {-0.6381836F, -0.03173828F, -0.5371094F, 0.06933594F});
}

TEST(Positions, GrowAsTheReferenceDoes) {
  expect_resampled(2, 3,
                   {-1.097657F, -0.8776044F, -0.6575524F, -0.6575522F, -0.4375F, -0.217448F, -0.2174482F,
                    0.002604F, 0.2226561F});
}

TEST(Positions, TheSameGridStaysAndWidthsStayApart) {
  const std::vector<float> from{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  std::vector<float> to(10);
  resample_positions(from, {2, 2, 2}, to);
  for (std::size_t i = 0; i < to.size(); ++i) EXPECT_FLOAT_EQ(to[i], from[i]);
}

}  // namespace
}  // namespace galago::model
