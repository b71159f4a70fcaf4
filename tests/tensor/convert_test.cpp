// The 16-bit conversions are exact where they can be and round to nearest even where they cannot.
#include "tensor/convert.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "galago/error.h"

namespace galago {
namespace {

TEST(Convert, EveryF16AndBf16SurvivesTheRoundTrip) {
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const float half = f16_to_f32(bits);
    const float brain = bf16_to_f32(bits);
    if (std::isnan(half)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(half)))) << i;
    } else {
      ASSERT_EQ(f32_to_f16(half), bits);
    }
    if (std::isnan(brain)) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(brain)))) << i;
    } else {
      ASSERT_EQ(f32_to_bf16(brain), bits);
    }
  }
}

TEST(Convert, MidpointsGoToTheEvenNeighbour) {
  // Between each two neighbours: the middle to the even one, a hair beside it to the nearer one.
  for (std::uint16_t bits = 0; bits < 0x7BFF; ++bits) {
    const float low = f16_to_f32(bits);
    const float high = f16_to_f32(static_cast<std::uint16_t>(bits + 1));
    const float middle = (low + high) / 2;  // exact in FP32
    const auto up = static_cast<std::uint16_t>(bits + 1);
    ASSERT_EQ(f32_to_f16(middle), bits % 2 == 0 ? bits : up) << bits;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 0.0F)), bits) << bits;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 1e6F)), up) << bits;
    ASSERT_EQ(f32_to_f16(-middle), (bits % 2 == 0 ? bits : up) | 0x8000);
  }
  EXPECT_EQ(f32_to_bf16(1.00390625F), 0x3F80);  // 1 + 2^-8, between 1 and 1 + 2^-7
  EXPECT_EQ(f32_to_bf16(1.01171875F), 0x3F82);
}

TEST(Convert, LargeValuesBecomeInfinity) {
  EXPECT_EQ(f32_to_f16(65504.0F), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65519.0F), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0F), 0x7C00);
  EXPECT_EQ(f32_to_f16(-1e30F), 0xFC00);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::infinity()), 0x7C00);
}

TEST(Convert, SpansNeedNoAlignmentAndCheckTheirSizes) {
  std::array<std::byte, 5> bytes{};
  const std::array<float, 2> values = {1.5F, -2.0F};
  const auto unaligned = std::span(bytes).subspan(1);
  for (const DType dtype : {DType::f16, DType::bf16}) {
    from_f32(dtype, values, unaligned);
    std::array<float, 2> back{};
    to_f32(dtype, unaligned, back);
    EXPECT_EQ(back, values);
  }
  std::array<float, 3> three{};
  EXPECT_THROW(to_f32(DType::f16, unaligned, three), Error);
  EXPECT_THROW(to_f32(DType::i16, unaligned, std::span(three).first(2)), Error);
}

}  // namespace
}  // namespace galago
