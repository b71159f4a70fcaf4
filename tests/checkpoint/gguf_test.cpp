// The GGUF reader: what well-formed files hold, and one sentence for each way in which a file can lie.
#include "checkpoint/gguf.h"

#include <limits>

#include "checkpoint/gguf_file.h"
#include "checkpoint/scratch.h"

namespace galago::checkpoint {
namespace {

using test::error_of;
using test::expect_says;
using test::GgufFile;
using test::raw;
using test::raw_text;
using test::raw_type;

Gguf read(const std::string& file) {
  return read_gguf(std::as_bytes(std::span(file)), "x.gguf");
}

void expect_refusal(const std::string& file, std::string_view part) {
  const std::string sentence = error_of(ErrorCode::model, [&] { read(file); });
  expect_says(sentence, "x.gguf: ");
  expect_says(sentence, part);
}

GgufFile small_file() {
  GgufFile file;
  file.string("general.architecture", "llama").u32("llama.block_count", 2);
  file.tensor("a", {32, 3}, 2, std::string(54, 'x')).tensor("b", {5}, 0, std::string(20, 'y'));
  return file;
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  GgufFile file;
  file.key("u8", GgufType::u8, raw(std::uint8_t{200})).key("i8", GgufType::i8, raw(std::int8_t{-3}));
  file.key("u16", GgufType::u16, raw(std::uint16_t{60000})).key("i16", GgufType::i16, raw(std::int16_t{-9}));
  file.key("i32", GgufType::i32, raw(-70000)).key("i64", GgufType::i64, raw(std::int64_t{-1}));
  file.key("u64", GgufType::u64, raw(~std::uint64_t{0})).key("f64", GgufType::f64, raw(0.25));
  file.u32("u32", 7).f32("f32", 1.5F).boolean("flag", true).string("text", "grüße");
  file.strings("words", {"a", "", "bc"});
  file.numbers<std::int32_t>("ids", GgufType::i32, {4, -5});
  const std::string bytes = file.bytes();
  const Gguf gguf = read(bytes);
  EXPECT_EQ(gguf.metadata.size(), 14U);
  EXPECT_EQ(gguf.find_integer("u8", "x"), 200);
  EXPECT_EQ(gguf.find_integer("i8", "x"), -3);
  EXPECT_EQ(gguf.find_integer("u16", "x"), 60000);
  EXPECT_EQ(gguf.find_integer("i16", "x"), -9);
  EXPECT_EQ(gguf.find_integer("i32", "x"), -70000);
  EXPECT_EQ(gguf.find_integer("i64", "x"), -1);
  EXPECT_EQ(std::get<double>(gguf.metadata.find("f32")->second), 1.5);
  EXPECT_EQ(std::get<double>(gguf.metadata.find("f64")->second), 0.25);
  EXPECT_EQ(gguf.find_flag("flag", "x"), true);
  EXPECT_EQ(*gguf.find_string("text", "x"), "grüße");
  EXPECT_EQ(gguf.find_array("words", GgufType::string, "x")->strings,
            (std::vector<std::string_view>{"a", "", "bc"}));
  EXPECT_EQ(gguf.find_array("ids", GgufType::i32, "x")->number(1), -5);
  EXPECT_EQ(gguf.find_string("nothing", "x"), nullptr);
  expect_says(error_of(ErrorCode::model, [&] { gguf.find_integer("u64", "x"); }), "u64 has another type");
  expect_says(error_of(ErrorCode::model, [&] { gguf.find_flag("text", "x"); }), "text has another type");
  expect_says(error_of(ErrorCode::model, [&] { gguf.find_array("ids", GgufType::f32, "x"); }), "ids has");
}

TEST(Gguf, PlacesTensors) {
  const std::string bytes = small_file().bytes();
  const Gguf gguf = read(bytes);
  ASSERT_EQ(gguf.tensors.size(), 2U);
  EXPECT_EQ(gguf.tensors[0].shape, (Shape{3, 32}));  // outermost first
  EXPECT_EQ(gguf.tensors[0].block, BlockType::q4_0);
  EXPECT_EQ(gguf.tensors[0].bytes, 54U);
  EXPECT_EQ(bytes[gguf.tensors[0].offset], 'x');
  EXPECT_EQ(gguf.tensors[1].dtype, DType::f32);
  EXPECT_FALSE(gguf.tensors[1].block);
  EXPECT_EQ(bytes[gguf.tensors[1].offset + gguf.tensors[1].bytes - 1], 'y');
  EXPECT_EQ(gguf.tensors[1].offset % 32, 0U);

  GgufFile other;
  other.alignment = 8;
  other.version = 2;
  other.u32("general.alignment", 8).tensor("a", {3}, 0, std::string(12, 'x')).tensor("b", {1}, 1, "yz");
  const std::string narrow = other.bytes();
  EXPECT_EQ(narrow[read(narrow).tensors[1].offset], 'y');
}

TEST(Gguf, RefusesWhatIsNoGguf) {
  expect_refusal("", "no GGUF file");
  expect_refusal("GGML\1\0\0\0", "no GGUF file");
  expect_refusal("GGUF" + raw(std::uint32_t{1}), "version 1");
  expect_refusal("GGUF" + raw(std::uint32_t{4}), "version 4");
  expect_refusal(std::string("GGUF\0\0\0\3", 8), "big-endian");
}

TEST(Gguf, RefusesEveryCutFile) {
  const std::string file = small_file().bytes();
  for (std::size_t length = 0; length + 12 < file.size(); ++length) {  // 12: padding after the last tensor
    error_of(ErrorCode::model, [&] { read(file.substr(0, length)); });
  }
}

TEST(Gguf, RefusesCountsBeyondTheFile) {
  constexpr std::uint64_t huge = std::uint64_t{1} << 60;
  GgufFile file = small_file();
  file.n_tensors = huge;
  expect_refusal(file.bytes(), "claims 1152921504606846976 tensors");
  file = small_file();
  file.n_keys = huge;
  expect_refusal(file.bytes(), "and 1152921504606846976 metadata keys");
  file.n_keys = 4;
  expect_refusal(file.bytes(), "metadata");
  for (const GgufType type : {GgufType::u8, GgufType::f64, GgufType::string, GgufType::array}) {
    file = small_file();
    file.key("list", GgufType::array, raw_type(type) + raw(huge));
    expect_refusal(file.bytes(), "list claims 1152921504606846976 elements");
  }
  file = small_file();
  file.key("text", GgufType::string, raw(huge) + "abc");
  expect_refusal(file.bytes(), "the file ends within the metadata value text");
  file = small_file();
  file.key("list", GgufType::array, raw_type(GgufType::string) + raw(std::uint64_t{1}) + raw(huge));
  expect_refusal(file.bytes(), "the file ends within the metadata value list");
}

TEST(Gguf, RefusesOddMetadata) {
  expect_refusal(small_file().u32("llama.block_count", 3).bytes(), "llama.block_count twice");
  expect_refusal(small_file().u32("", 3).bytes(), "0 bytes long");
  expect_refusal(small_file().key("odd", static_cast<GgufType>(13), "").bytes(), "unknown value type 13");
  expect_refusal(small_file().key("odd", GgufType::array, raw(99) + raw(std::uint64_t{0})).bytes(),
                 "unknown value type 99");
  std::string nested;
  for (int i = 0; i < 6; ++i) nested += raw_type(GgufType::array) + raw(std::uint64_t{1});
  nested += raw_type(GgufType::u8) + raw(std::uint64_t{0});
  expect_refusal(small_file().key("deep", GgufType::array, nested).bytes(), "nested deeper");
  const std::string two = raw_type(GgufType::array) + raw(std::uint64_t{1}) + raw_type(GgufType::u8) +
                          raw(std::uint64_t{2}) + "ab";
  const std::string flat = small_file().key("lists", GgufType::array, two).bytes();
  EXPECT_EQ(std::get<GgufArray>(read(flat).metadata.find("lists")->second).count, 1U);
  for (const std::uint32_t alignment : {0U, 24U, 1U << 31}) {
    expect_refusal(small_file().u32("general.alignment", alignment).bytes(), "expected a power of two");
  }
  expect_refusal(small_file().string("general.alignment", "32").bytes(), "another type");
}

TEST(Gguf, RefusesOddTensors) {
  const auto with = [](std::vector<std::uint64_t> dims, std::uint32_t type, std::uint64_t offset) {
    return small_file().describe("t", dims, type, offset).bytes();
  };
  constexpr std::uint64_t big = std::uint64_t{1} << 40;
  expect_refusal(with({4}, 4, 0), "unknown type 4");
  expect_refusal(with({4}, 777, 0), "unknown type 777");
  expect_refusal(with({256}, 16, 0), "IQ2_XXS, which is not supported");
  expect_refusal(with({1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  expect_refusal(with({big, big}, 0, 0), "larger than memory");
  expect_refusal(with({~std::uint64_t{0}}, 0, 0), "larger than memory");
  expect_refusal(with({big, 0, big, big}, 0, 0), "larger than memory");
  expect_refusal(with({33}, 8, 0), "rows of 33 elements");
  expect_refusal(with({}, 8, 0), "rows of 1 elements");
  expect_refusal(with({1}, 0, 31), "a multiple of the alignment");
  expect_refusal(with({1}, 0, 96), "beyond the end");
  expect_refusal(with({big}, 0, 0), "beyond the end");
  expect_refusal(with({1}, 0, std::numeric_limits<std::uint64_t>::max() - 31), "beyond the end");
  expect_refusal(with({1}, 0, 32), "a and t overlap");
  expect_refusal(small_file().tensor("a", {1}, 0, "abcd").bytes(), "the tensor a twice");
  expect_refusal(small_file().tensor("", {1}, 0, "abcd").bytes(), "0 bytes long");
}

}  // namespace
}  // namespace galago::checkpoint
