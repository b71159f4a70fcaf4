// One function a block type; they follow the layouts of blocks.h bit by bit, in FP32 as the format's own
// tools compute.
#include "tensor/blocks.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/fail.h"
#include "tensor/block_parts.h"
#include "tensor/convert.h"

namespace galago {
namespace {

using namespace block_parts;
using Decode = void (*)(const std::uint8_t* block, float* to);

void decode_q4_0(const std::uint8_t* block, float* to) {
  const float scale = half_at(block);
  for (int i = 0; i < 32; ++i) to[i] = scale * static_cast<float>(nibble(block + 2, i) - 8);
}

void decode_q4_1(const std::uint8_t* block, float* to) {
  const float scale = half_at(block);
  const float minimum = half_at(block + 2);
  for (int i = 0; i < 32; ++i) to[i] = scale * static_cast<float>(nibble(block + 4, i)) + minimum;
}

void decode_q5_0(const std::uint8_t* block, float* to) {
  const float scale = half_at(block);
  for (int i = 0; i < 32; ++i) {
    const int quant = nibble(block + 6, i) | bit(block + 2, i) << 4;
    to[i] = scale * static_cast<float>(quant - 16);
  }
}

void decode_q5_1(const std::uint8_t* block, float* to) {
  const float scale = half_at(block);
  const float minimum = half_at(block + 2);
  for (int i = 0; i < 32; ++i) {
    const int quant = nibble(block + 8, i) | bit(block + 4, i) << 4;
    to[i] = scale * static_cast<float>(quant) + minimum;
  }
}

void decode_q8_0(const std::uint8_t* block, float* to) {
  const float scale = half_at(block);
  for (int i = 0; i < 32; ++i) to[i] = scale * static_cast<float>(static_cast<std::int8_t>(block[2 + i]));
}

void decode_iq4_nl(const std::uint8_t* block, float* to) {
  static constexpr std::array<std::int8_t, 16> table = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                        1,    13,   25,  38,  53,  69,  89,  113};
  const float scale = half_at(block);
  for (int i = 0; i < 32; ++i) {
    to[i] = scale * static_cast<float>(table[static_cast<std::size_t>(nibble(block + 2, i))]);
  }
}

/// 16 bytes of scale (low) and minimum (high), 64 bytes of quants, half d, half dmin; groups of 16.
void decode_q2_k(const std::uint8_t* block, float* to) {
  const float scale = half_at(block + 80);
  const float minimum = half_at(block + 82);
  for (int i = 0; i < 256; ++i) {
    const int group = block[i / 16];
    const float group_scale = scale * static_cast<float>(group & 15);
    const float group_minimum = minimum * static_cast<float>(group >> 4);
    to[i] = group_scale * static_cast<float>(two_bits(block + 16, i)) - group_minimum;
  }
}

/// 32 bytes of third bits (0 means 4 less), 64 bytes of quants, 16 six-bit scales in 12 bytes, half d.
void decode_q3_k(const std::uint8_t* block, float* to) {
  const std::uint8_t* scales = block + 96;
  const float scale = half_at(block + 108);
  for (int i = 0; i < 256; ++i) {
    const float group_scale = scale * static_cast<float>(q3_scale(scales, i / 16));
    to[i] = group_scale * static_cast<float>(q3_quant(block, block + 32, i));
  }
}

/// half d, half dmin, the pairs, quants; groups of 32. Q5_K has 32 bytes of fifth bits before its quants.
void decode_q45_k(const std::uint8_t* block, const std::uint8_t* fifth, const std::uint8_t* quants,
                  float* to) {
  const float scale = half_at(block);
  const float minimum = half_at(block + 2);
  for (int i = 0; i < 256; ++i) {
    const ScaleAndMinimum group = pair_at(block + 4, i / 32);
    const int high = fifth == nullptr ? 0 : fifth[i % 32] >> (i / 32) & 1;
    const auto quant = static_cast<float>(four_bits(quants, i) | high << 4);
    to[i] = scale * static_cast<float>(group.scale) * quant - minimum * static_cast<float>(group.minimum);
  }
}

void decode_q4_k(const std::uint8_t* block, float* to) {
  decode_q45_k(block, nullptr, block + 16, to);
}

void decode_q5_k(const std::uint8_t* block, float* to) {
  decode_q45_k(block, block + 16, block + 48, to);
}

/// 128 bytes of low four bits (64 bytes hold 128 elements), 64 bytes of high two, 16 signed scales, half d.
void decode_q6_k(const std::uint8_t* block, float* to) {
  const float scale = half_at(block + 208);
  for (int i = 0; i < 256; ++i) {
    const auto group = static_cast<float>(static_cast<std::int8_t>(block[192 + i / 16]));
    to[i] = scale * group * static_cast<float>(q6_quant(block, block + 128, i));
  }
}

Decode decoder_of(BlockType type) {
  switch (type) {
    case BlockType::q4_0:
      return decode_q4_0;
    case BlockType::q4_1:
      return decode_q4_1;
    case BlockType::q5_0:
      return decode_q5_0;
    case BlockType::q5_1:
      return decode_q5_1;
    case BlockType::q8_0:
      return decode_q8_0;
    case BlockType::q2_k:
      return decode_q2_k;
    case BlockType::q3_k:
      return decode_q3_k;
    case BlockType::q4_k:
      return decode_q4_k;
    case BlockType::q5_k:
      return decode_q5_k;
    case BlockType::q6_k:
      return decode_q6_k;
    case BlockType::iq4_nl:
      return decode_iq4_nl;
  }
  fail(ErrorCode::internal, "no decoder for block type {}", static_cast<int>(type));
}

}  // namespace

void decode_blocks(BlockType type, std::span<const std::byte> from, std::span<float> to) {
  const auto elements = static_cast<std::size_t>(block_elements(type));
  const Decode decode = decoder_of(type);
  if (to.size() % elements != 0 || from.size() != stored_bytes(type, static_cast<std::int64_t>(to.size()))) {
    fail(ErrorCode::internal, "{} bytes are not {} elements of {}", from.size(), to.size(), name_of(type));
  }
  const auto* block = reinterpret_cast<const std::uint8_t*>(from.data());
  for (std::size_t i = 0; i < to.size(); i += elements) {
    decode(block, to.data() + i);
    block += block_bytes(type);
  }
}

}  // namespace galago
