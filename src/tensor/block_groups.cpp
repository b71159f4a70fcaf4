#include "tensor/block_groups.h"

#include <cstdint>

#include "base/fail.h"
#include "tensor/block_parts.h"
#include "tensor/grouped.h"

namespace galago {
namespace {

using namespace block_parts;

/// A block on its way into a row: `element` and `group` are the row's where the block begins.
struct Place {
  GroupedRow& row;
  std::int64_t element;
  std::int64_t group;
};

/// Blocks of 32 whose nibbles or bytes lie as a record's chunk does.
void copy_quants(const std::uint8_t* quants, std::size_t bytes, const Place& to) {
  to.row.put_chunk(to.element / quant_chunk, {reinterpret_cast<const std::byte*>(quants), bytes});
}

/// Nibbles with fifth bits; `zero` is what stands for 0.
void put_five_bits(const std::uint8_t* fifth, const std::uint8_t* nibbles, int zero, const Place& to) {
  for (int i = 0; i < 32; ++i) {
    to.row.put_quant(to.element + i, (nibble(nibbles, i) | bit(fifth, i) << 4) - zero);
  }
}

void group_of_32(BlockType type, const std::uint8_t* block, const Place& to) {
  to.row.put_scale(to.group, half_at(block));
  switch (type) {
    case BlockType::q4_1:
      to.row.put_minimum(to.group, half_at(block + 2));
      return copy_quants(block + 4, 16, to);
    case BlockType::q5_0:
      return put_five_bits(block + 2, block + 6, 16, to);
    case BlockType::q5_1:
      to.row.put_minimum(to.group, half_at(block + 2));
      return put_five_bits(block + 4, block + 8, 0, to);
    case BlockType::q8_0:
      return copy_quants(block + 2, 32, to);
    default:  // q4_0, iq4_nl
      return copy_quants(block + 2, 16, to);
  }
}

void group_q2_k(const std::uint8_t* block, const Place& to) {
  const float scale = half_at(block + 80);
  const float minimum = half_at(block + 82);
  for (int group = 0; group < 16; ++group) {
    to.row.put_scale(to.group + group, scale * static_cast<float>(block[group] & 15));
    to.row.put_minimum(to.group + group, -(minimum * static_cast<float>(block[group] >> 4)));
  }
  for (int i = 0; i < 256; ++i) to.row.put_quant(to.element + i, two_bits(block + 16, i));
}

void group_q3_k(const std::uint8_t* block, const Place& to) {
  const float scale = half_at(block + 108);
  for (int group = 0; group < 16; ++group) {
    to.row.put_scale(to.group + group, scale * static_cast<float>(q3_scale(block + 96, group)));
  }
  for (int i = 0; i < 256; ++i) to.row.put_quant(to.element + i, q3_quant(block, block + 32, i));
}

/// `fifth` is null in Q4_K.
void group_q45_k(const std::uint8_t* block, const std::uint8_t* fifth, const std::uint8_t* quants,
                 const Place& to) {
  const float scale = half_at(block);
  const float minimum = half_at(block + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMinimum pair = pair_at(block + 4, group);
    to.row.put_scale(to.group + group, scale * static_cast<float>(pair.scale));
    to.row.put_minimum(to.group + group, -(minimum * static_cast<float>(pair.minimum)));
  }
  for (int i = 0; i < 256; ++i) {
    const int high = fifth == nullptr ? 0 : fifth[i % 32] >> (i / 32) & 1;
    to.row.put_quant(to.element + i, four_bits(quants, i) | high << 4);
  }
}

void group_q6_k(const std::uint8_t* block, const Place& to) {
  const float scale = half_at(block + 208);
  for (int group = 0; group < 16; ++group) {
    const auto factor = static_cast<float>(static_cast<std::int8_t>(block[192 + group]));
    to.row.put_scale(to.group + group, scale * factor);
  }
  for (int i = 0; i < 256; ++i) to.row.put_quant(to.element + i, q6_quant(block, block + 128, i));
}

void group_block(BlockType type, const std::uint8_t* block, const Place& to) {
  switch (type) {
    case BlockType::q2_k:
      return group_q2_k(block, to);
    case BlockType::q3_k:
      return group_q3_k(block, to);
    case BlockType::q4_k:
      return group_q45_k(block, nullptr, block + 16, to);
    case BlockType::q5_k:
      return group_q45_k(block, block + 16, block + 48, to);
    case BlockType::q6_k:
      return group_q6_k(block, to);
    default:
      return group_of_32(type, block, to);
  }
}

}  // namespace

Grouped groups_of(BlockType type) {
  switch (type) {
    case BlockType::q4_0:
      return {4, 32, DType::f16, GroupOffset::none, Codebook::none};
    case BlockType::q4_1:
      return {4, 32, DType::f16, GroupOffset::minimum, Codebook::none};
    case BlockType::iq4_nl:
      return {4, 32, DType::f16, GroupOffset::none, Codebook::iq4_nl};
    case BlockType::q5_0:
    case BlockType::q8_0:
      return {8, 32, DType::f16, GroupOffset::none, Codebook::none};
    case BlockType::q5_1:
      return {8, 32, DType::f16, GroupOffset::minimum, Codebook::none};
    case BlockType::q2_k:
      return {4, 16, DType::f32, GroupOffset::minimum, Codebook::none};
    case BlockType::q3_k:
      return {4, 16, DType::f32, GroupOffset::none, Codebook::none};
    case BlockType::q4_k:
      return {4, 32, DType::f32, GroupOffset::minimum, Codebook::none};
    case BlockType::q5_k:
      return {8, 32, DType::f32, GroupOffset::minimum, Codebook::none};
    case BlockType::q6_k:
      return {8, 16, DType::f32, GroupOffset::none, Codebook::none};
  }
  fail(ErrorCode::internal, "no groups for block type {}", static_cast<int>(type));
}

void group_blocks(BlockType type, std::span<const std::byte> from, std::int64_t cols,
                  std::span<std::byte> to) {
  const std::int64_t each = block_elements(type);
  if (cols % each != 0 || from.size() != stored_bytes(type, cols)) {
    fail(ErrorCode::internal, "{} bytes are not {} elements of {}", from.size(), cols, name_of(type));
  }
  const Grouped format = groups_of(type);
  GroupedRow row(format, cols, to);
  const auto* block = reinterpret_cast<const std::uint8_t*>(from.data());
  for (std::int64_t element = 0; element < cols; element += each) {
    group_block(type, block, {row, element, element / format.group});
    block += block_bytes(type);
  }
}

}  // namespace galago
