// Threads that load side by side give the bytes that one gives, take what was planned, and fail in one
// sentence.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "checkpoint/scratch.h"
#include "runtime/load/weight_loader.h"
#include "support/random.h"
#include "tensor/convert.h"

namespace galago::runtime {
namespace {

using checkpoint::TensorEntry;
using checkpoint::TensorSource;
using memory::Arena;

constexpr std::int64_t rows = 700, cols = 1536;  // several pieces for each of several threads

class LargeMatrix {
 public:
  LargeMatrix() {
    std::vector<float> values = ::galago::testing::random_floats(rows * cols, 7);
    values.back() = 0.5F;
    write(values);
    const std::vector<checkpoint::RowRun> odd_first{{1, rows / 2, 2}, {0, 30, 2}, {60, rows / 2 - 30, 2}};
    for (const char* name : {"plain", "rows", "blocks"}) {
      TensorEntry entry = entry_;
      if (std::string_view(name) == "blocks") {
        entry.block = BlockType::q8_0;
        entry.dtype = DType::f16;
        entry.bytes = entry.bytes_of(rows * cols);
      }
      checkpoint_.tensors.emplace(name, TensorSource{0, entry, {rows, cols}, {}});
    }
    checkpoint_.tensors.at("rows").rows = odd_first;
  }

  void write(std::span<const float> values) {
    std::vector<std::byte> bytes(rows * cols * size_of(DType::f16));
    from_f32(DType::f16, values, bytes);
    checkpoint::write_safetensors(
        file(), std::array{checkpoint::TensorToWrite{"stored", DType::f16, {rows, cols}, bytes}});
    checkpoint_.files.clear();
    checkpoint_.files.emplace_back(file());
    entry_ = checkpoint::read_safetensors_header(checkpoint_.files[0].bytes(), "file").front();
  }

  std::filesystem::path file() const { return scratch_ / "model.safetensors"; }

  /// The matrix as it lies in memory.
  std::vector<std::byte> load(const std::string& name, const std::optional<WeightFormat>& format,
                              int threads) {
    Configuration configuration;
    configuration.decoder_format = format;
    configuration.host_threads = threads;
    const model::NamedShape wanted{name, {rows, cols}};
    Arena plan = Arena::planning();
    WeightLoader(checkpoint_, configuration, plan).matrix(model::Part::decoder, {&wanted, 1});
    Arena arena = Arena::reserved(plan.high_water());
    const Weight weight =
        WeightLoader(checkpoint_, configuration, arena).matrix(model::Part::decoder, {&wanted, 1});
    EXPECT_EQ(arena.high_water(), plan.high_water());
    std::vector<std::byte> bytes(weight.bytes());
    std::memcpy(bytes.data(), weight.data, bytes.size());
    return bytes;
  }

 private:
  test::Scratch scratch_;
  checkpoint::Checkpoint checkpoint_;
  TensorEntry entry_;
};

constexpr Grouped int8{8, 32, DType::f16, GroupOffset::none};
constexpr Grouped int4{4, 32, DType::f16, GroupOffset::minimum};
constexpr Grouped wider_than_q8_0{8, 16, DType::f32, GroupOffset::minimum};

TEST(ParallelLoading, GivesTheBytesOfOneThread) {
  LargeMatrix matrix;
  for (const char* name : {"plain", "rows", "blocks"}) {
    for (const std::optional<WeightFormat>& format :
         {std::optional<WeightFormat>(), std::optional<WeightFormat>(DType::f32),
          std::optional<WeightFormat>(int8), std::optional<WeightFormat>(int4),
          std::optional<WeightFormat>(wider_than_q8_0)}) {
      const std::vector<std::byte> alone = matrix.load(name, format, 1);
      for (const int threads : {2, 3, 7}) {
        EXPECT_EQ(matrix.load(name, format, threads), alone)
            << name << " as " << describe_format(format) << " by " << threads;
      }
    }
  }
}

TEST(ParallelLoading, TakesRowsAsTheFileHasThem) {
  LargeMatrix matrix;
  const std::vector<std::byte> plain = matrix.load("plain", std::nullopt, 3);
  const std::vector<std::byte> chosen = matrix.load("rows", std::nullopt, 3);
  constexpr std::size_t row_bytes = cols * 2;
  const auto row = [](const std::vector<std::byte>& all, std::size_t i) {
    return std::vector<std::byte>(all.begin() + static_cast<std::ptrdiff_t>(i * row_bytes),
                                  all.begin() + static_cast<std::ptrdiff_t>((i + 1) * row_bytes));
  };
  for (std::size_t i = 0; i < rows / 2; ++i) {
    ASSERT_EQ(row(chosen, i), row(plain, 2 * i + 1)) << i;
    ASSERT_EQ(row(chosen, rows / 2 + i), row(plain, 2 * i)) << i;
  }
}

TEST(ParallelLoading, NamesFileAndTensorOfWhatCannotBeRounded) {
  LargeMatrix matrix;
  std::vector<float> values(rows * cols, 1);
  values[values.size() / 2] = std::numeric_limits<float>::quiet_NaN();
  matrix.write(values);
  const std::string sentence =
      test::error_of(ErrorCode::model, [&] { matrix.load("plain", WeightFormat(int8), 3); });
  test::expect_says(sentence, "model.safetensors: tensor stored holds values that int8");
}

TEST(ParallelLoading, NamesAFileThatEndsTooSoon) {
  LargeMatrix matrix;
  std::filesystem::resize_file(matrix.file(), rows * cols);
  for (const std::optional<WeightFormat>& format :
       {std::optional<WeightFormat>(), std::optional<WeightFormat>(int4)}) {
    const std::string sentence = test::error_of(ErrorCode::io, [&] { matrix.load("plain", format, 3); });
    test::expect_says(sentence, "model.safetensors: ends at byte");
  }
}

}  // namespace
}  // namespace galago::runtime
