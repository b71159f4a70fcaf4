// The safetensors reader refuses what the format forbids, and reads back what the writer writes.
#include "checkpoint/safetensors.h"

#include <csignal>
#include <cstdint>
#include <random>

#include "base/file_map.h"
#include "checkpoint/scratch.h"
#include "tensor/convert.h"

namespace galago::checkpoint {
namespace {

using test::error_of;
using test::expect_says;
using test::safetensors;

std::vector<TensorEntry> read(const std::string& file) {
  return read_safetensors_header(std::as_bytes(std::span(file)), "m.safetensors");
}

std::string refusal(const std::string& header, std::size_t data_bytes) {
  const std::string sentence = error_of(ErrorCode::model, [&] { read(safetensors(header, data_bytes)); });
  expect_says(sentence, "m.safetensors");
  return sentence;
}

TEST(SafetensorsReader, ListsTensorsInTheOrderOfTheirBytes) {
  const auto tensors = read(safetensors(R"({"__metadata__":{"format":"pt"},
    "late":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},
    "empty":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},
    "early":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                                        16));
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "early");
  EXPECT_EQ(tensors[0].shape.rank(), 0u);
  EXPECT_EQ(tensors[0].bytes, 4u);
  EXPECT_EQ(tensors[1].name, "empty");
  EXPECT_EQ(tensors[2].dtype, DType::bf16);
  EXPECT_EQ(tensors[2].shape, (Shape{2, 3}));
  EXPECT_EQ(tensors[2].offset, tensors[0].offset + 4);
}

TEST(SafetensorsReader, RefusesFilesWithoutAHeader) {
  expect_says(error_of(ErrorCode::model, [] { read("short"); }), "5 bytes long");
  expect_says(error_of(ErrorCode::model, [] { read(std::string("\x10\0\0\0\0\0\0\0{}", 10)); }),
              "claims 16 bytes");
  expect_says(error_of(ErrorCode::model, [] { read(std::string(8, '\xff') + "{}"); }), "at most 100000000");
  expect_says(refusal("[]", 0), "does not start with '{'");
  expect_says(refusal("", 0), "does not start with '{'");
  expect_says(refusal("{\"a\":", 0), "malformed JSON");
}

TEST(SafetensorsReader, NamesTheTensorThatItRefuses) {
  const auto one = [](std::string_view fields, std::size_t bytes = 8) {
    const std::string sentence = refusal("{\"x.weight\":" + std::string(fields) + "}", bytes);
    expect_says(sentence, "tensor x.weight");
    return sentence;
  };
  expect_says(one(R"({"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]})"), "unknown dtype F8_E4M3");
  expect_says(one(R"({"dtype":3,"shape":[8],"data_offsets":[0,8]})"), "expected a string");
  expect_says(one(R"({"shape":[8],"data_offsets":[0,8]})"), "dtype is missing");
  expect_says(one(R"({"dtype":"U8","shape":8,"data_offsets":[0,8]})"), "expected an array");
  expect_says(one(R"({"dtype":"U8","shape":[-8],"data_offsets":[0,8]})"), "the number -8");
  expect_says(one(R"({"dtype":"U8","shape":[1,1,1,1,8],"data_offsets":[0,8]})"), "5 dimensions");
  expect_says(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})"),
              "larger than memory");
  expect_says(one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})"),
              "larger than memory");
  expect_says(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), "needs 12 bytes");
  expect_says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), "not a pair");
  expect_says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})"), "the number -8");
  expect_says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), "end before");
  expect_says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[4,12]})"), "holds only 8");
  expect_says(one("7"), "expected an object");
}

TEST(SafetensorsReader, RefusesOverlapsHolesAndRepeatedNames) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  expect_says(refusal("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12),
              "a and b overlap");
  expect_says(refusal("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})", 16),
              "4 bytes before tensor b");
  expect_says(refusal("{" + a + "}", 11), "3 bytes after the last tensor");
  expect_says(refusal("{" + a + "," + a + "}", 8), "the name a appears twice");
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const test::Scratch scratch;
  const std::vector<float> logits = {1.5F, -2.0F, 0.0F, 4.0F, 5.0F, 6.0F};
  const std::vector<std::int64_t> ids = {1, -200};
  const std::vector<TensorToWrite> tensors = {
      {"logits", DType::f32, {2, 3}, std::as_bytes(std::span(logits))},
      {"ids", DType::i64, {2}, std::as_bytes(std::span(ids))}};
  write_safetensors(scratch / "t.safetensors", tensors);

  const MappedFile file(scratch / "t.safetensors");
  const auto read_back = read_safetensors_header(file.bytes(), "t");
  ASSERT_EQ(read_back.size(), 2u);
  EXPECT_EQ(read_back[0].name, "logits");
  EXPECT_EQ(read_back[0].offset % 8, 0u);
  std::vector<float> values(6);
  to_f32(DType::f32, file.bytes().subspan(read_back[0].offset, read_back[0].bytes), values);
  EXPECT_EQ(values, logits);
  EXPECT_EQ(read_back[1].dtype, DType::i64);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), 1)
      << "a temporary file is left";
}

TEST(SafetensorsWriter, LeavesTheOldFileWhenTheDiskIsFull) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const std::vector<float> value = {1.0F};
  const std::vector<TensorToWrite> tensors = {{"v", DType::f32, {1}, std::as_bytes(std::span(value))}};
  expect_says(error_of(ErrorCode::io, [&] { write_safetensors("/dev/full", tensors); }), "No space left");
  const test::Scratch scratch;
  expect_says(error_of(ErrorCode::io, [&] { write_safetensors(scratch / "no/such/t", tensors); }),
              "No such file");
  expect_says(error_of(ErrorCode::io, [&] { write_safetensors(scratch.path(), tensors); }), "is a directory");
}

/// One random change: bytes of the length, header characters, numbers or words of the header, cuts and
/// additions.
std::string mutate(std::string file, std::mt19937& random) {
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  static const char* words[] = {
      "-1",     "18446744073709551615", "1e308", "[", "]", "{",    "}", "null", "\"F32\"",
      "\"F7\"", "4294967296",           "0",     ":", ",", "\"a\""};
  const std::size_t header_end = std::min<std::size_t>(file.size(), 8 + 150);
  switch (below(5)) {
    case 0:
      file[below(8)] = static_cast<char>(random());
      break;
    case 1:
      file[8 + below(header_end - 8)] = static_cast<char>(random());
      break;
    case 2:
      file.resize(8 + below(file.size() - 8));
      break;
    case 3:
      file.append(1 + below(40), '\x5a');
      break;
    default: {
      const std::size_t at = 8 + below(header_end - 8);
      const std::string word = words[below(std::size(words))];
      file.replace(at, std::min<std::size_t>(word.size(), file.size() - at), word);
    }
  }
  return file;
}

TEST(SafetensorsReader, SurvivesMutantsOfAValidFile) {
  const std::string valid = safetensors(R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
                                        R"("b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]},)"
                                        R"("c":{"dtype":"I64","shape":[],"data_offsets":[22,30]}})",
                                        30);
  std::mt19937 random(20260901);
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string mutant = mutate(valid, random);
    if (i % 3 == 0 && mutant.size() > 200) mutant = mutate(mutant, random);
    try {
      for (const TensorEntry& tensor : read(mutant)) {
        ASSERT_LE(tensor.offset + tensor.bytes, mutant.size());
        ASSERT_EQ(tensor.bytes, static_cast<Bytes>(tensor.shape.elements()) * size_of(tensor.dtype));
      }
    } catch (const Error& error) {
      ASSERT_EQ(static_cast<int>(error.code()), static_cast<int>(ErrorCode::model)) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace galago::checkpoint
