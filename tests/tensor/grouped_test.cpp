// Grouped rows hold what was put into them, round to the nearest quant, and change format without loss.
#include "tensor/grouped.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "support/random.h"
#include "tensor/convert.h"

namespace galago {
namespace {

constexpr auto none = GroupOffset::none;
constexpr auto minimum = GroupOffset::minimum;
constexpr auto zero_point = GroupOffset::zero_point;

std::vector<std::byte> record_of(const Grouped& format, std::int64_t cols) {
  return std::vector<std::byte>(layout_of(format, cols).row_bytes, std::byte{0xAA});
}

std::vector<float> decoded(const Grouped& format, const std::vector<std::byte>& record, std::int64_t cols) {
  std::vector<float> row(static_cast<std::size_t>(cols));
  decode_row(format, record, row);
  return row;
}

TEST(GroupedLayout, CountsEveryByteOfARow) {
  // 70 columns: 3 chunks, the last of them filled up; 3 groups of 32.
  EXPECT_EQ(layout_of({4, 32, DType::f16, none}, 70).row_bytes, 64U);          // 48 + 6, filled up
  EXPECT_EQ(layout_of({4, 32, DType::f16, minimum}, 70).row_bytes, 64U);       // 48 + 6 + 6
  EXPECT_EQ(layout_of({4, 32, DType::f32, minimum}, 70).row_bytes, 80U);       // 48 + 12 + 12
  EXPECT_EQ(layout_of({8, 128, DType::f16, zero_point}, 70).row_bytes, 112U);  // 96 + 2 + 1
  EXPECT_EQ(layout_of({8, 16, DType::f32, none}, 70).row_bytes, 128U);         // 96 + 20
  EXPECT_EQ(WeightFormat(DType::bf16).row_bytes(70), 140U);
  EXPECT_DOUBLE_EQ(WeightFormat(Grouped{4, 32, DType::f16, none}).bits_per_weight(), 4.5);
  EXPECT_DOUBLE_EQ(WeightFormat(Grouped{4, 128, DType::f16, zero_point}).bits_per_weight(), 4.1875);
  EXPECT_DOUBLE_EQ(WeightFormat(Grouped{8, 16, DType::f32, none}).bits_per_weight(), 10);
}

class RoundedRows : public ::testing::TestWithParam<Grouped> {};

TEST_P(RoundedRows, AreWithinHalfAStepOfWhatWentIn) {
  const Grouped format = GetParam();
  for (const std::int64_t cols : {1, 15, 16, 31, 33, 64, 100, 300}) {
    auto row = testing::random_floats(static_cast<std::size_t>(cols), static_cast<std::uint32_t>(cols));
    for (float& value : row) value = 3 * value + (format.offset == minimum ? 2 : 0);
    auto record = record_of(format, cols);
    ASSERT_TRUE(encode_row(format, row, record));
    const auto back = decoded(format, record, cols);
    for (std::int64_t i = 0; i < cols; ++i) {
      const std::int64_t first = i / format.group * format.group;
      const auto begin = row.begin() + first;
      const auto end = row.begin() + std::min<std::int64_t>(cols, first + format.group);
      const auto [low, high] = std::minmax_element(begin, end);
      const float farthest = std::max(std::abs(*low), std::abs(*high));
      const float steps = static_cast<float>((1 << format.bits) - 1);
      float step = format.offset == minimum ? (*high - *low) / steps : farthest / ((steps + 1) / 2);
      // Centred quants reach one step less far on the other side than on the farthest value's.
      const float bound = format.offset == minimum ? step / 2 : step;
      const float scale_rounding = format.scale == DType::f16 ? 2 * farthest * 0x1p-11F : 0;
      EXPECT_NEAR(back[static_cast<std::size_t>(i)], row[static_cast<std::size_t>(i)],
                  bound + scale_rounding + 1e-6F)
          << "column " << i << " of " << cols;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, RoundedRows,
    ::testing::Values(Grouped{4, 32, DType::f16, none}, Grouped{4, 32, DType::f16, minimum},
                      Grouped{4, 128, DType::f32, none}, Grouped{4, 16, DType::f32, minimum},
                      Grouped{8, 32, DType::f16, none}, Grouped{8, 64, DType::f16, minimum},
                      Grouped{8, 128, DType::f32, none}));

TEST(GroupedRow, KeepsWholeQuantsExactly) {
  const std::vector<float> row = {-8, -7, -1, 0, 1, 7, 3, 4};
  for (const Grouped format : {Grouped{4, 16, DType::f16, none}, Grouped{8, 16, DType::f16, none}}) {
    auto record = record_of(format, 8);
    ASSERT_TRUE(encode_row(format, row, record));
    EXPECT_EQ(decoded(format, record, 8), row);
  }
}

TEST(GroupedRow, HoldsZerosAndTheTinyAndRefusesWhatIsNotFinite) {
  const Grouped format{4, 32, DType::f32, none};
  std::vector<float> row(40, 0.0F);
  auto record = record_of(format, 40);
  ASSERT_TRUE(encode_row(format, row, record));
  EXPECT_EQ(decoded(format, record, 40), row);
  row[3] = 1e-45F;
  EXPECT_TRUE(encode_row(format, row, record));
  row[39] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(encode_row(format, row, record));
  row[39] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(encode_row(format, row, record));
  row[39] = 1e6F;
  EXPECT_FALSE(encode_row({4, 32, DType::f16, none}, row, record)) << "the scale is beyond FP16";
}

/// A record of arbitrary quants, for formats that we read but do not make.
std::vector<std::byte> arbitrary(const Grouped& format, std::int64_t cols, std::uint32_t seed) {
  auto record = record_of(format, cols);
  GroupedRow row(format, cols, record);
  const auto values = testing::random_floats(static_cast<std::size_t>(cols), seed);
  for (std::int64_t i = 0; i < cols; ++i) {
    const int range = format.bits == 8 ? 127 : 7;
    const int quant =
        static_cast<int>(std::lround(values[static_cast<std::size_t>(i)] * static_cast<float>(range)));
    const bool counted_from_zero =
        format.bits == 4 && (format.offset != none || format.codebook != Codebook::none);
    row.put_quant(i, counted_from_zero ? quant + 8 : quant);
  }
  for (std::int64_t g = 0; g * format.group < cols; ++g) {
    const float number = f16_to_f32(f32_to_f16(0.01F * static_cast<float>(g + 1)));
    row.put_scale(g, number);
    if (format.offset == minimum) row.put_minimum(g, -number);
    if (format.offset == zero_point) row.put_zero(g, static_cast<int>(g) + 4);
  }
  return record;
}

TEST(GroupedRow, LooksUpTheCodebookAndTakesOffZeroPoints) {
  const Grouped nf4{4, 16, DType::f32, none, Codebook::nf4};
  auto record = record_of(nf4, 16);
  GroupedRow row(nf4, 16, record);
  row.put_scale(0, 2);
  for (int i = 0; i < 16; ++i) row.put_quant(i, 15 - i);
  const auto values = decoded(nf4, record, 16);
  EXPECT_EQ(values[0], 2.0F);
  EXPECT_EQ(values[15], -2.0F);
  EXPECT_EQ(values[8], 0.0F);

  const Grouped zeros{4, 16, DType::f32, zero_point};
  GroupedRow other(zeros, 16, record);
  other.put_scale(0, 0.5F);
  other.put_zero(0, 16);
  other.put_quant(3, 15);
  EXPECT_EQ(decoded(zeros, record, 16)[3], -0.5F);
  EXPECT_EQ(decoded(zeros, record, 16)[4], -8.0F);
}

TEST(JoinedFormats, HoldRowsOfBothWithoutLoss) {
  const std::vector<Grouped> formats = {{4, 32, DType::f16, none},
                                        {4, 32, DType::f32, minimum},
                                        {8, 16, DType::f32, none},
                                        {4, 128, DType::f16, zero_point},
                                        {8, 32, DType::f16, minimum},
                                        {8, 64, DType::f16, zero_point},
                                        {4, 64, DType::f32, none, Codebook::nf4},
                                        {4, 16, DType::f32, none, Codebook::nf4}};
  for (const Grouped& a : formats) {
    for (const Grouped& b : formats) {
      const auto joint = join(a, b);
      EXPECT_EQ(joint, join(b, a));
      if (!joint) continue;
      const auto record = arbitrary(a, 70, 3);
      auto converted = record_of(*joint, 70);
      convert_row(a, record, *joint, 70, converted);
      EXPECT_EQ(decoded(*joint, converted, 70), decoded(a, record, 70))
          << describe(a) << " joined with " << describe(b);
    }
  }
  EXPECT_FALSE(join(formats[1], formats[3])) << "minima and zero points";
  EXPECT_FALSE(join(formats[0], formats[6])) << "numbers and a codebook";
}

}  // namespace
}  // namespace galago
