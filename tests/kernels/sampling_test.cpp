// The numbers in which tokens are chosen: their order, their weights, and the borders between them.
#include "kernels/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace galago::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

TEST(Sampling, RanksAreInTheOrderOfLogitsAndTellThem) {
  const std::vector<float> rising{-infinity, -3e38F, -2.5F, -1e-40F, 0, 1e-40F, 1, 3e38F, infinity};
  for (std::size_t i = 0; i < rising.size(); ++i) {
    EXPECT_EQ(logit_of(rank_of(rising[i])), rising[i]);
    if (i > 0) {
      EXPECT_GT(rank_of(rising[i]), rank_of(rising[i - 1])) << rising[i];
    }
  }
  EXPECT_EQ(rank_of(-0.0F), rank_of(0.0F));
  EXPECT_LT(rank_of(std::numeric_limits<float>::quiet_NaN()), rank_of(-infinity));
  EXPECT_LT(rank_of(-std::numeric_limits<float>::quiet_NaN()), rank_of(-infinity));
}

TEST(Sampling, OfEqualLogitsTheFirstTokenComesFirst) {
  EXPECT_GT(order_of(2, 7), order_of(2, 8));
  EXPECT_GT(order_of(2.5F, 8), order_of(2, 7));
  EXPECT_EQ(token_in(order_of(-1, 151935)), 151935);
  EXPECT_EQ(logit_in(order_of(-1, 151935)), -1);
}

TEST(Sampling, WeightsAreProbabilitiesBesideTheLikeliest) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const double temperature = std::ldexp(1.0, static_cast<int>(random() % 8) - 4);
    const float largest = static_cast<float>(random() % 2000) / 50 - 20;
    const float logit = largest - static_cast<float>(random() % 100000) / 3000;
    const double scale = std::ldexp(1.4426950408889634 / temperature, 32);
    const double exact = std::exp((static_cast<double>(logit) - largest) / temperature);
    const double weight = static_cast<double>(weight_of(logit, largest, scale)) / whole_weight;
    // 12 roundings to 2^-32 of a number above 2^-1, and one to 2^-40.
    EXPECT_NEAR(weight, exact, exact * std::ldexp(24, -32) + std::ldexp(1, -weight_bits));
  }
  EXPECT_EQ(weight_of(3, 3, 1), whole_weight);
  EXPECT_EQ(weight_of(-infinity, 3, 1), 0U);
  EXPECT_EQ(weight_of(std::numeric_limits<float>::quiet_NaN(), 3, 1), 0U);
  EXPECT_EQ(weight_of(-3e38F, 3e38F, 1e300), 0U);
}

TEST(Sampling, SmallerLogitsNeverWeighMore) {
  std::uint64_t before = std::uint64_t{1} << 32;
  for (std::uint64_t fraction = 0; fraction < std::uint64_t{1} << 32; fraction += 977) {
    const std::uint64_t weight = power_of_two_below(static_cast<std::uint32_t>(fraction));
    ASSERT_LE(weight, before) << fraction;
    before = weight;
  }
  EXPECT_GE(before, std::uint64_t{1} << 31) << "and none less than one that is a bit smaller";
}

TEST(Sampling, ProductsAreThoseOf128Bits) {
  std::mt19937_64 random(2);
  __extension__ using Wide = unsigned __int128;
  for (int i = 0; i < 10000; ++i) {
    const std::uint64_t a = random() >> random() % 64;
    const std::uint64_t b = random() >> random() % 64;
    EXPECT_EQ(high_product(a, b), static_cast<std::uint64_t>(static_cast<Wide>(a) * b >> 64));
  }
  constexpr std::uint64_t most = ~std::uint64_t{0};
  EXPECT_EQ(high_product(most, most), most - 1);
}

TEST(Sampling, ANucleusReachesItsProbabilityAndNoMore) {
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  EXPECT_EQ(nucleus_of(half, 4 * whole_weight), 2 * whole_weight) << "two of four equal ones reach a half";
  EXPECT_EQ(nucleus_of(half, 3), 2U);
  EXPECT_EQ(nucleus_of(1, whole_weight), 1U);
  EXPECT_EQ(drawn_weight(0, whole_weight), 1U);
  EXPECT_EQ(drawn_weight(~std::uint64_t{0}, whole_weight), whole_weight);
}

}  // namespace
}  // namespace galago::kernels
