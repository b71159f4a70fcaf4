// Weights come into their place by rows, converted or as they are, and plan mode takes the same bytes.
#include "runtime/load/weight_loader.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <numeric>

#include "checkpoint/scratch.h"
#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago::runtime {
namespace {

using checkpoint::TensorSource;
using memory::Arena;

constexpr std::int64_t rows = 40, cols = 3;

/// A file with one matrix "stored", its elements counted up from 0, and canonical tensors made of its rows.
class LoadedByRows : public ::testing::TestWithParam<DType> {
 protected:
  LoadedByRows() {
    values_.resize(static_cast<std::size_t>(rows * cols));
    std::iota(values_.begin(), values_.end(), 0.0F);
    std::vector<std::byte> bytes(values_.size() * size_of(DType::f16));
    from_f32(DType::f16, values_, bytes);
    const auto file = scratch_ / "model.safetensors";
    checkpoint::write_safetensors(
        file, std::array{checkpoint::TensorToWrite{"stored", DType::f16, {rows, cols}, bytes}});
    checkpoint_.files.push_back(MappedFile(file));
    entry_ = checkpoint::read_safetensors_header(checkpoint_.files[0].bytes(), "file").front();
    add("a", {{4, 6}, {30, 2}});
    add("b", {{1, 4, 2}, {0, 4, 2}});  // every other row, odd ones first
    configuration_.decoder_format = GetParam();
  }

  void add(const std::string& name, std::vector<checkpoint::RowRun> runs) {
    checkpoint_.tensors.emplace(name, TensorSource{0, entry_, {8, cols}, std::move(runs)});
  }

  memory::RegionSizes planned() {
    Arena arena = Arena::planning();
    WeightLoader(checkpoint_, configuration_, arena).matrix(model::Part::decoder, wanted_);
    return arena.high_water();
  }

  test::Scratch scratch_;
  std::vector<float> values_;
  checkpoint::Checkpoint checkpoint_;
  checkpoint::TensorEntry entry_;
  Configuration configuration_;
  std::array<model::NamedShape, 2> wanted_{{{"a", {8, cols}}, {"b", {8, cols}}}};
};

TEST_P(LoadedByRows, GivesTheRowsInTheirOrderAndTakesWhatWasPlanned) {
  const memory::RegionSizes plan = planned();
  Arena arena = Arena::reserved(plan);
  const Weight weight =
      WeightLoader(checkpoint_, configuration_, arena).matrix(model::Part::decoder, wanted_);
  EXPECT_EQ(arena.high_water(), plan);
  EXPECT_EQ(weight.shape, (Shape{16, cols}));
  EXPECT_EQ(weight.format, GetParam());

  const std::array<std::int64_t, 16> expected{4, 5, 6, 7, 8, 9, 30, 31, 1, 3, 5, 7, 0, 2, 4, 6};
  std::vector<float> loaded(16 * cols);
  to_f32(weight.format.dtype(), {static_cast<const std::byte*>(weight.data), weight.bytes()}, loaded);
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    const auto row = static_cast<std::size_t>(expected[i / cols]);
    EXPECT_EQ(loaded[i], values_[row * cols + i % cols]) << i;
  }
}

TEST_P(LoadedByRows, RoundsWholeRowsToGroupsAndTakesWhatWasPlanned) {
  const Grouped format{8, 16, DType::f32, GroupOffset::none};
  configuration_.decoder_format = format;
  const memory::RegionSizes plan = planned();
  Arena arena = Arena::reserved(plan);
  const Weight weight =
      WeightLoader(checkpoint_, configuration_, arena).matrix(model::Part::decoder, wanted_);
  EXPECT_EQ(arena.high_water(), plan);
  EXPECT_EQ(weight.format, WeightFormat(format));
  const Bytes row_bytes = weight.format.row_bytes(cols);
  EXPECT_EQ(weight.bytes(), 16 * row_bytes);
  std::array<float, cols> row{};
  decode_row(format, {static_cast<const std::byte*>(weight.data) + 6 * row_bytes, row_bytes}, row);
  for (std::size_t i = 0; i < cols; ++i) EXPECT_NEAR(row[i], values_[30 * cols + i], 1);  // row 6 is row 30
}

TEST(CommonFormat, IsExactForBothOrWide) {
  const Grouped four{4, 32, DType::f16, GroupOffset::none};
  const Grouped eight{8, 16, DType::f32, GroupOffset::none};
  EXPECT_EQ(common_format(DType::f16, DType::f16), WeightFormat(DType::f16));
  EXPECT_EQ(common_format(DType::f16, DType::bf16), WeightFormat(DType::f32));
  EXPECT_EQ(common_format(four, DType::f16), WeightFormat(DType::f32));
  EXPECT_EQ(common_format(four, eight), WeightFormat(eight));
}

TEST(StorageFormat, LeavesWhatIsStoredInAsFewBits) {
  const Grouped four{4, 32, DType::f16, GroupOffset::none};
  const Grouped eight{8, 32, DType::f16, GroupOffset::none};
  checkpoint::Packing packing;
  packing.format = four;
  TensorSource packed;
  packed.shape = {8, 64};
  packed.packing = std::make_shared<const checkpoint::Packing>(packing);
  EXPECT_EQ(storage_format(std::nullopt, packed), WeightFormat(four));
  EXPECT_EQ(storage_format(WeightFormat(eight), packed), WeightFormat(four));
  EXPECT_EQ(storage_format(WeightFormat(DType::f32), packed), WeightFormat(DType::f32));
  const TensorSource convolution{0, {"", DType::f16, {8, 3, 4, 4}, 0, 0}, {8, 3, 4, 4}, {}};
  EXPECT_EQ(storage_format(WeightFormat(eight), convolution), WeightFormat(DType::f16));
}

INSTANTIATE_TEST_SUITE_P(Types, LoadedByRows, ::testing::Values(DType::f16, DType::f32));

}  // namespace
}  // namespace galago::runtime
