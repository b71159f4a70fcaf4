// Blocks put in groups are worth exactly what the blocks are worth, alone and joined with other types.
#include "tensor/block_groups.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/file_map.h"
#include "checkpoint/safetensors.h"
#include "galago/error.h"
#include "tensor/grouped.h"

namespace galago {
namespace {

constexpr BlockType all_types[] = {BlockType::q4_0, BlockType::q4_1, BlockType::q5_0,  BlockType::q5_1,
                                   BlockType::q8_0, BlockType::q2_k, BlockType::q3_k,  BlockType::q4_k,
                                   BlockType::q5_k, BlockType::q6_k, BlockType::iq4_nl};

/// Blocks that the format's own tools made.
class BlockGroups : public ::testing::TestWithParam<BlockType> {
 protected:
  BlockGroups() {
    const std::string name = std::string(name_of(GetParam())) + ".blocks";
    for (const auto& entry : checkpoint::read_safetensors_header(file_.bytes(), "blocks")) {
      if (entry.name == name) blocks_ = file_.bytes().subspan(entry.offset, entry.bytes);
    }
    cols_ = static_cast<std::int64_t>(blocks_.size() / block_bytes(GetParam())) * block_elements(GetParam());
  }

  std::vector<float> values() const {
    std::vector<float> row(static_cast<std::size_t>(cols_));
    decode_blocks(GetParam(), blocks_, row);
    return row;
  }

  std::vector<std::byte> record() const {
    std::vector<std::byte> bytes(layout_of(groups_of(GetParam()), cols_).row_bytes);
    group_blocks(GetParam(), blocks_, cols_, bytes);
    return bytes;
  }

  const MappedFile file_{GALAGO_GOLDENS_DIR "/gguf/blocks.safetensors"};
  std::span<const std::byte> blocks_;
  std::int64_t cols_ = 0;
};

TEST_P(BlockGroups, HoldEveryValueExactly) {
  ASSERT_GT(cols_, 0);
  std::vector<float> row(static_cast<std::size_t>(cols_));
  decode_row(groups_of(GetParam()), record(), row);
  EXPECT_EQ(row, values());
}

TEST_P(BlockGroups, StayExactWhereTheyAreJoinedWithOthers) {
  for (const BlockType other : all_types) {
    const auto joint = join(groups_of(GetParam()), groups_of(other));
    if (!joint) continue;
    std::vector<std::byte> converted(layout_of(*joint, cols_).row_bytes);
    convert_row(groups_of(GetParam()), record(), *joint, cols_, converted);
    std::vector<float> row(static_cast<std::size_t>(cols_));
    decode_row(*joint, converted, row);
    EXPECT_EQ(row, values()) << "with " << name_of(other);
  }
}

TEST_P(BlockGroups, TakeARowOfWholeBlocksOnly) {
  std::vector<std::byte> bytes(layout_of(groups_of(GetParam()), cols_).row_bytes);
  EXPECT_THROW(group_blocks(GetParam(), blocks_, cols_ - 1, bytes), Error);
  EXPECT_THROW(group_blocks(GetParam(), blocks_.first(blocks_.size() - 1), cols_, bytes), Error);
}

INSTANTIATE_TEST_SUITE_P(EveryType, BlockGroups, ::testing::ValuesIn(all_types),
                         [](const auto& type) { return std::string(name_of(type.param)); });

}  // namespace
}  // namespace galago
