// Every block type against the reference decoder's values, and a few blocks written out by hand.
#include "tensor/blocks.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/file_map.h"
#include "checkpoint/safetensors.h"
#include "galago/error.h"
#include "tensor/convert.h"

namespace galago {
namespace {

constexpr BlockType all_types[] = {BlockType::q4_0, BlockType::q4_1, BlockType::q5_0,  BlockType::q5_1,
                                   BlockType::q8_0, BlockType::q2_k, BlockType::q3_k,  BlockType::q4_k,
                                   BlockType::q5_k, BlockType::q6_k, BlockType::iq4_nl};

std::vector<float> decoded(BlockType type, const std::vector<std::uint8_t>& bytes) {
  std::vector<float> values(bytes.size() / block_bytes(type) *
                            static_cast<std::size_t>(block_elements(type)));
  decode_blocks(type, std::as_bytes(std::span(bytes)), values);
  return values;
}

TEST(Blocks, DecodeAsTheReferenceDoes) {
  const MappedFile file(GALAGO_GOLDENS_DIR "/gguf/blocks.safetensors");
  std::map<std::string, std::span<const std::byte>> tensors;
  for (const auto& entry : checkpoint::read_safetensors_header(file.bytes(), "blocks")) {
    tensors[entry.name] = file.bytes().subspan(entry.offset, entry.bytes);
  }
  for (const BlockType type : all_types) {
    const std::string name(name_of(type));
    const auto blocks = tensors.at(name + ".blocks");
    std::vector<float> expected(tensors.at(name + ".values").size() / sizeof(float));
    to_f32(DType::f32, tensors.at(name + ".values"), expected);
    std::vector<float> values(expected.size());
    decode_blocks(type, blocks, values);
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], expected[i]) << name << " " << i;
  }
}

TEST(Blocks, DecodeWhatIsWrittenByHand) {
  // d = 0.5 (0x3800), m = -1 (0xBC00); byte i holds i in its low half and 15 - i in its high one.
  std::vector<std::uint8_t> nibbles;
  for (int i = 0; i < 16; ++i) nibbles.push_back(static_cast<std::uint8_t>(i | (15 - i) << 4));
  const auto block = [&nibbles](std::vector<std::uint8_t> head) {
    head.insert(head.end(), nibbles.begin(), nibbles.end());
    return head;
  };
  const auto q4_0 = decoded(BlockType::q4_0, block({0x00, 0x38}));
  const auto q4_1 = decoded(BlockType::q4_1, block({0x00, 0x38, 0x00, 0xBC}));
  const auto q5_0 = decoded(BlockType::q5_0, block({0x00, 0x38, 0xFF, 0xFF, 0x00, 0x00}));
  for (int i = 0; i < 32; ++i) {
    const auto quant = static_cast<float>(i < 16 ? i : 31 - i);
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(q4_0[at], 0.5F * (quant - 8));
    EXPECT_EQ(q4_1[at], 0.5F * quant - 1);
    EXPECT_EQ(q5_0[at], 0.5F * (quant + (i < 16 ? 16.0F : 0.0F) - 16));
  }
}

TEST(Blocks, RefuseBytesThatAreNoWholeBlocks) {
  std::vector<std::byte> bytes(18);
  std::vector<float> values(31);
  EXPECT_THROW(decode_blocks(BlockType::q4_0, bytes, values), Error);
  values.resize(64);
  EXPECT_THROW(decode_blocks(BlockType::q4_0, bytes, values), Error);
}

}  // namespace
}  // namespace galago
