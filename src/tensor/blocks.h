// Quantised blocks as GGUF files store them: a fixed number of neighbouring weights in a fixed number of
// bytes.
//
// Layouts in order of their bytes; "half" is a little-endian FP16. Nibbles of 32-blocks: byte i holds element
// i in its low half and element 16 + i in its high one.
//
//     Q8_0    half d, 32 signed bytes q                              d q
//     Q4_0    half d, 16 bytes of nibbles q                          d (q - 8)
//     Q4_1    half d, half m, 16 bytes of nibbles q                  d q + m
//     Q5_0    half d, 32 fifth bits, 16 bytes of nibbles             d (q - 16)
//     Q5_1    half d, half m, 32 fifth bits, 16 bytes of nibbles     d q + m
//     IQ4_NL  half d, 16 bytes of nibbles q                          d table[q]
//     Q2_K to Q6_K: 256 weights, in groups of 16 or 32 whose scales (and minima) are quantised themselves
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/dtype.h"

namespace galago {

enum class BlockType : std::uint8_t { q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl };

/// Weights of one block.
constexpr std::int64_t block_elements(BlockType type) {
  switch (type) {
    case BlockType::q2_k:
    case BlockType::q3_k:
    case BlockType::q4_k:
    case BlockType::q5_k:
    case BlockType::q6_k:
      return 256;
    default:
      return 32;
  }
}

constexpr Bytes block_bytes(BlockType type) {
  switch (type) {
    case BlockType::q4_0:
    case BlockType::iq4_nl:
      return 18;
    case BlockType::q4_1:
      return 20;
    case BlockType::q5_0:
      return 22;
    case BlockType::q5_1:
      return 24;
    case BlockType::q8_0:
      return 34;
    case BlockType::q2_k:
      return 84;
    case BlockType::q3_k:
      return 110;
    case BlockType::q4_k:
      return 144;
    case BlockType::q5_k:
      return 176;
    case BlockType::q6_k:
      return 210;
  }
  return 0;
}

/// As GGUF's tools spell it.
constexpr std::string_view name_of(BlockType type) {
  switch (type) {
    case BlockType::q4_0:
      return "Q4_0";
    case BlockType::q4_1:
      return "Q4_1";
    case BlockType::q5_0:
      return "Q5_0";
    case BlockType::q5_1:
      return "Q5_1";
    case BlockType::q8_0:
      return "Q8_0";
    case BlockType::q2_k:
      return "Q2_K";
    case BlockType::q3_k:
      return "Q3_K";
    case BlockType::q4_k:
      return "Q4_K";
    case BlockType::q5_k:
      return "Q5_K";
    case BlockType::q6_k:
      return "Q6_K";
    case BlockType::iq4_nl:
      return "IQ4_NL";
  }
  return "?";
}

/// Bytes of `elements` weights, which fill whole blocks.
constexpr Bytes stored_bytes(BlockType type, std::int64_t elements) {
  return static_cast<Bytes>(elements / block_elements(type)) * block_bytes(type);
}

/// The weights of whole blocks as FP32; `from`, which needs no alignment, holds stored_bytes(type,
/// to.size()).
void decode_blocks(BlockType type, std::span<const std::byte> from, std::span<float> to);

}  // namespace galago
