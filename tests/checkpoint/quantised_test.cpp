// Quantised matrices are put together from their stored tensors, and what does not fit is refused in a
// sentence.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "checkpoint/quantisation.h"
#include "checkpoint/unpack.h"
#include "scratch.h"
#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago::checkpoint {
namespace {

using test::error_of;
using test::expect_says;

/// Stored tensors of one file, by name, in a form that tests can change before they are written.
struct Stored {
  std::string name;
  DType dtype;
  Shape shape;
  std::vector<std::byte> bytes;
};

template <class T>
Stored stored(const std::string& name, DType dtype, const Shape& shape, const std::vector<T>& values) {
  Stored tensor{name, dtype, shape, std::vector<std::byte>(values.size() * sizeof(T))};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

class Quantised : public ::testing::Test {
 protected:
  std::vector<TensorSource> join(const std::vector<Stored>& tensors, const Quantisation& quantisation) {
    std::vector<TensorToWrite> to_write;
    for (const Stored& tensor : tensors) {
      to_write.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
    }
    const auto path = scratch_ / "model.safetensors";
    write_safetensors(path, to_write);
    files_.clear();
    files_.push_back(MappedFile(path));
    std::vector<TensorSource> sources;
    for (const TensorEntry& entry : read_safetensors_header(files_[0].bytes(), "model.safetensors")) {
      sources.push_back({0, entry, entry.shape, {}});
    }
    return join_quantised(std::move(sources), quantisation, files_).tensors;
  }

  std::vector<float> values(const TensorSource& source, std::int64_t row) const {
    std::vector<float> values(static_cast<std::size_t>(source.shape[1]));
    unpack_values(*source.packing, parts(source), row, values);
    if (source.format().is_grouped()) {
      std::vector<std::byte> record(source.format().row_bytes(source.shape[1]));
      unpack_record(*source.packing, parts(source), row, source.shape[1], record);
      std::vector<float> decoded(values.size());
      decode_row(source.format().grouped(), record, decoded);
      EXPECT_EQ(decoded, values);
    }
    return values;
  }

  std::span<const std::span<const std::byte>> parts(const TensorSource& source) const {
    parts_.clear();
    for (const StoredTensor& part : source.packing->parts) {
      parts_.push_back(files_[0].bytes().subspan(part.entry.offset, part.entry.bytes));
    }
    return parts_;
  }

  test::Scratch scratch_;
  std::vector<MappedFile> files_;
  mutable std::vector<std::span<const std::byte>> parts_;
};

constexpr Quantisation awq{Quantisation::Method::awq, 4, 16, 0};
constexpr Quantisation gptq{Quantisation::Method::gptq, 4, 16, 1};
constexpr Quantisation bitsandbytes{Quantisation::Method::bitsandbytes, 4, 0, 0};

/// 8 rows, 16 columns, one group.
std::vector<Stored> awq_tensors() {
  // Nibbles from the lowest: rows 0 2 4 6 1 3 5 7.
  return {stored("a.qweight", DType::i32, {16, 1}, std::vector<std::uint32_t>(16, 0x76543210)),
          stored("a.qzeros", DType::i32, {1, 1}, std::vector<std::uint32_t>{0x00000008}),
          stored("a.scales", DType::f16, {1, 8}, std::vector<std::uint16_t>(8, f32_to_f16(0.5F))),
          stored("a.bias", DType::f16, {8}, std::vector<std::uint16_t>(8))};
}

std::vector<Stored> gptq_tensors() {
  std::vector<std::int32_t> order(16, 0);
  // Elements from the lowest nibble of the first row of words: 0 to 7, then 8 to 15.
  std::vector<std::uint32_t> words(8, 0x76543210);
  words.resize(16, 0xfedcba98);
  return {stored("a.qweight", DType::i32, {2, 8}, words),
          stored("a.qzeros", DType::i32, {1, 1}, std::vector<std::uint32_t>{0xf7777777}),
          stored("a.scales", DType::f16, {1, 8}, std::vector<std::uint16_t>(8, f32_to_f16(0.5F))),
          stored("a.g_idx", DType::i32, {16}, order)};
}

TEST_F(Quantised, AwqRowsComeOutOfTheirOrder) {
  const auto joined = join(awq_tensors(), awq);
  ASSERT_EQ(joined.size(), 2U);
  EXPECT_EQ(joined[0].entry.name, "a.weight");
  EXPECT_EQ(joined[0].shape, (Shape{8, 16}));
  EXPECT_EQ(joined[0].format(), (Grouped{4, 16, DType::f16, GroupOffset::zero_point}));
  EXPECT_EQ(joined[1].entry.name, "a.bias");
  const std::array<float, 8> quants = {0, 4, 1, 5, 2, 6, 3, 7};
  for (std::int64_t row = 0; row < 8; ++row) {
    const float zero = row == 0 ? 8 : 0;
    EXPECT_EQ(values(joined[0], row)[3], 0.5F * (quants[static_cast<std::size_t>(row)] - zero)) << row;
  }
}

TEST_F(Quantised, GptqColumnsCountFromTheLowestBitsAndZerosLackOne) {
  const auto joined = join(gptq_tensors(), gptq);
  ASSERT_EQ(joined.size(), 1U);
  EXPECT_TRUE(joined[0].format().is_grouped());
  const auto first = values(joined[0], 0);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(first[i], 0.5F * (static_cast<float>(i) - 8));
  EXPECT_EQ(values(joined[0], 7)[15], 0.5F * (15 - 16));
}

TEST_F(Quantised, GptqColumnsOutOfOrderAreDecoded) {
  auto tensors = gptq_tensors();
  Quantisation quantisation = gptq;
  quantisation.group = 8;
  tensors[1] = stored("a.qzeros", DType::i32, {2, 1}, std::vector<std::uint32_t>(2, 0x77777777));
  std::vector<std::uint16_t> scales(8, f32_to_f16(0.5F));
  scales.resize(16, f32_to_f16(2));
  tensors[2] = stored("a.scales", DType::f16, {2, 8}, scales);
  std::vector<std::int32_t> order(16);
  for (std::size_t i = 0; i < 16; ++i) order[i] = static_cast<std::int32_t>(i % 2);
  tensors[3] = stored("a.g_idx", DType::i32, {16}, order);
  const auto joined = join(tensors, quantisation);
  EXPECT_FALSE(joined[0].format().is_grouped());
  EXPECT_EQ(values(joined[0], 2)[9], 2.0F * (9 - 8));
  EXPECT_EQ(values(joined[0], 2)[10], 0.5F * (10 - 8));
}

TEST_F(Quantised, EightBitsOfGptqAreSignedInMemory) {
  Quantisation quantisation = gptq;
  quantisation.bits = 8;
  const std::vector<Stored> tensors = {
      stored("a.qweight", DType::i32, {4, 4}, std::vector<std::uint32_t>(16, 0xff800100)),
      stored("a.qzeros", DType::i32, {1, 1}, std::vector<std::uint32_t>{0xff7f0000}),
      stored("a.scales", DType::f16, {1, 4}, std::vector<std::uint16_t>(4, f32_to_f16(0.5F)))};
  const auto joined = join(tensors, quantisation);
  EXPECT_EQ(joined[0].format(), (Grouped{8, 16, DType::f32, GroupOffset::minimum}));
  EXPECT_EQ(values(joined[0], 0)[3], 0.5F * (255 - 1));
  EXPECT_EQ(values(joined[0], 2)[2], 0.0F);
  EXPECT_EQ(values(joined[0], 3)[0], 0.5F * (0 - 256));
}

/// 3 rows of 32 columns: blocks of 64 run across them.
std::vector<Stored> nf4_tensors() {
  const std::string state = R"({"quant_type": "nf4", "blocksize": 64, "shape": [3, 32]})";
  return {stored("a.weight", DType::u8, {48, 1}, std::vector<std::uint8_t>(48, 0x0f)),
          stored("a.weight.absmax", DType::f32, {2}, std::vector<float>{2, 3}),
          stored("a.weight.quant_map", DType::f32, {16},
                 std::vector<float>(values_of(Codebook::nf4).begin(), values_of(Codebook::nf4).end())),
          stored("a.weight.quant_state.bitsandbytes__nf4", DType::u8,
                 {static_cast<std::int64_t>(state.size())}, std::vector<char>(state.begin(), state.end()))};
}

TEST_F(Quantised, Nf4BlocksRunOverTheFlattenedMatrix) {
  const auto joined = join(nf4_tensors(), bitsandbytes);
  ASSERT_EQ(joined.size(), 1U);
  EXPECT_EQ(joined[0].format(), (Grouped{4, 32, DType::f32, GroupOffset::none, Codebook::nf4}));
  EXPECT_EQ(values(joined[0], 0)[0], -2.0F);
  EXPECT_EQ(values(joined[0], 1)[31], 2.0F);
  EXPECT_EQ(values(joined[0], 2)[1], 3.0F);
}

TEST_F(Quantised, Int8RowsHaveOneScaleEach) {
  const std::vector<Stored> tensors = {
      stored("a.weight", DType::i8, {2, 3}, std::vector<std::int8_t>{127, -127, 0, 1, 2, 3}),
      stored("a.SCB", DType::f32, {2}, std::vector<float>{4, 127}),
      stored("a.weight_format", DType::u8, {}, std::vector<std::uint8_t>{0})};
  const auto joined = join(tensors, bitsandbytes);
  ASSERT_EQ(joined.size(), 1U);
  EXPECT_FLOAT_EQ(values(joined[0], 0)[1], -4.0F);
  EXPECT_FLOAT_EQ(values(joined[0], 1)[2], 3.0F);
}

TEST_F(Quantised, WhatDoesNotFitIsRefused) {
  const auto says = [this](std::vector<Stored> tensors, const Quantisation& quantisation, const char* what) {
    expect_says(error_of(ErrorCode::model, [&] { join(tensors, quantisation); }), what);
  };
  auto tensors = awq_tensors();
  tensors.erase(tensors.begin() + 1);
  says(tensors, awq, "a.qzeros is missing beside it");
  Quantisation odd = awq;
  odd.group = 12;
  says(awq_tensors(), odd, "16 columns are no multiple of the group size 12");
  tensors = awq_tensors();
  tensors[2] = stored("a.scales", DType::f16, {1, 4}, std::vector<std::uint16_t>(4));
  says(tensors, awq, "expected fp16 [1, 8]");
  tensors = gptq_tensors();
  tensors[3] = stored("a.g_idx", DType::i32, {16}, std::vector<std::int32_t>(16, 1));
  says(tensors, gptq, "column 0 is said to be of group 1, expected 0 to 0");
  tensors[3] = stored("a.g_idx", DType::i32, {16}, std::vector<std::int32_t>(16, -1));
  says(tensors, gptq, "group -1");
  tensors = nf4_tensors();
  tensors.pop_back();
  says(tensors, bitsandbytes, "quant_state.bitsandbytes__nf4 is missing");
  const std::string state = R"({"blocksize": 64, "shape": [300000000000, 32]})";
  tensors.push_back(stored("a.weight.quant_state.bitsandbytes__nf4", DType::u8,
                           {static_cast<std::int64_t>(state.size())},
                           std::vector<char>(state.begin(), state.end())));
  says(tensors, bitsandbytes, "its shape is not that of a matrix");
  tensors = nf4_tensors();
  tensors[2] = stored("a.weight.quant_map", DType::f32, {16}, std::vector<float>(16));
  says(tensors, bitsandbytes, "is another table than NF4's");
}

class QuantisationConfig : public ::testing::Test {
 protected:
  std::optional<Quantisation> read(const std::string& quantisation) {
    test::write_text(scratch_ / "config.json", "{" + quantisation + "}");
    ConfigFiles files(scratch_.path());
    return read_quantisation(files);
  }
  void refuses(const std::string& quantisation, const char* what) {
    expect_says(error_of(ErrorCode::model, [&] { read(quantisation); }), what);
  }
  test::Scratch scratch_;
};

TEST_F(QuantisationConfig, IsReadOrRefusedByName) {
  EXPECT_FALSE(read(""));
  const auto found = read(R"("quantization_config": {"quant_method": "gptq", "bits": 8, "group_size": -1})");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->bits, 8);
  EXPECT_EQ(found->group, 0);
  EXPECT_EQ(found->zero_bias, 1);
  refuses(R"("quantization_config": {"quant_method": "fp8"})",
          "expected \"awq\", \"gptq\", \"bitsandbytes\" or \"galago\"");
  refuses(R"("quantization_config": {"quant_method": "awq", "version": "gemv"})", "version");
  refuses(R"("quantization_config": {"quant_method": "gptq", "bits": 3})", "expected 4 or 8");
  refuses(R"("quantization_config": {"quant_method": "gptq", "group_size": "big"})", "group_size");
  refuses(R"("quantization_config": {"quant_method": "gptq", "group_size": 0})", "group_size is 0");
  refuses(R"("quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true,
          "bnb_4bit_quant_type": "fp4"})",
          "bnb_4bit_quant_type");
}

}  // namespace
}  // namespace galago::checkpoint
