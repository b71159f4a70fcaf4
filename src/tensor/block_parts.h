// How single values are packed in GGUF's blocks: what decoding and grouping have in common.
#pragma once

#include <cstdint>

#include "tensor/convert.h"

namespace galago::block_parts {

inline float half_at(const std::uint8_t* bytes) {
  return f16_to_f32(static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8));
}

/// The nibble of element `i` of 32 whose low halves come first.
inline int nibble(const std::uint8_t* quants, int i) {
  return i < 16 ? quants[i] & 15 : quants[i - 16] >> 4;
}

inline int bit(const std::uint8_t* bits, int i) {
  return bits[i / 8] >> (i % 8) & 1;
}

/// Two bits of an element of 256: each 32 bytes hold 128 elements, 32 at a time from the lowest bits on.
inline int two_bits(const std::uint8_t* quants, int i) {
  return quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

/// Four bits of an element of 256: each 32 bytes hold 64 elements, the low halves first.
inline int four_bits(const std::uint8_t* quants, int i) {
  return quants[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
}

struct ScaleAndMinimum {
  int scale;
  int minimum;
};

/// Eight pairs of six bits in 12 bytes: the first four lie in bytes 0 to 7, whose upper bits belong to the
/// last four.
inline ScaleAndMinimum pair_at(const std::uint8_t* packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  return {(packed[group + 4] & 15) | packed[group - 4] >> 6 << 4,
          packed[group + 4] >> 4 | packed[group] >> 6 << 4};
}

/// Q3_K's scale of a group of 16: six bits in 12 bytes, 32 meaning 0.
inline int q3_scale(const std::uint8_t* scales, int group) {
  const int low = scales[group % 8] >> (group / 8 * 4) & 15;
  const int high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

/// Q3_K's quant: two bits, and a third in `high` that means 4 less where it is not set.
inline int q3_quant(const std::uint8_t* high, const std::uint8_t* quants, int i) {
  const int third = high[i % 32] >> (i / 32) & 1;
  return two_bits(quants, i) - (third == 0 ? 4 : 0);
}

/// Q6_K's quant: four low bits, 64 bytes of which hold 128 elements, and two high ones; 32 means 0.
inline int q6_quant(const std::uint8_t* low, const std::uint8_t* high, int i) {
  const int four = low[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
  return (four | two_bits(high, i) << 4) - 32;
}

}  // namespace galago::block_parts
