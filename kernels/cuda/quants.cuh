// Packed quants to pairs of FP16 numbers, without a conversion an element.
#pragma once

#include "kernels/cuda/tensor_core.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// What is stored beside a group's quants: its FP16 scale and, above it, its FP16 minimum or signed zero
/// point.
struct GroupWord {
  std::uint32_t bits;

  __device__ __forceinline__ std::uint32_t scale_bits() const { return bits & 0xffffU; }
  __device__ __forceinline__ std::uint32_t offset_bits() const { return bits >> 16; }
  __device__ __forceinline__ float scale() const { return widen(Half{static_cast<std::uint16_t>(bits)}); }
  __device__ __forceinline__ float minimum() const {
    return widen(Half{static_cast<std::uint16_t>(offset_bits())});
  }
  __device__ __forceinline__ int zero_point() const { return static_cast<std::int8_t>(offset_bits()); }
};

/// Where a row has its groups' scales and offsets.
struct GroupPlaces {
  std::int64_t scales_at, offsets_at;
  int n_groups;
  GroupOffset offset;
};

/// Chunks of quants are filled up beyond the last group, which then counts for them.
__device__ __forceinline__ GroupWord group_word(const GroupPlaces& places,
                                                const Global<const std::uint8_t>& row, int asked) {
  const int group = asked < places.n_groups ? asked : places.n_groups - 1;
  const std::uint32_t scale = memory_as<const std::uint16_t>(row + places.scales_at)[group];
  std::uint32_t offset = 0;
  if (places.offset == GroupOffset::minimum) {
    offset = memory_as<const std::uint16_t>(row + places.offsets_at)[group];
  } else if (places.offset == GroupOffset::zero_point) {
    offset = row[places.offsets_at + group];
  }
  return {scale | offset << 16};
}

/// Four quants of a word as unsigned bytes: those of 8 bits 128 higher than they are, of 4 bits the low or
/// the high halves of the word's bytes.
template <int bits>
__device__ __forceinline__ std::uint32_t unsigned_bytes(std::uint32_t word, bool high) {
  return bits == 8 ? word ^ 0x80808080U : word >> (high ? 4 : 0) & 0x0f0f0f0fU;
}

/// Eight quants likewise: of 8 bits two words, of 4 bits one.
template <int bits>
__device__ __forceinline__ Words2 unsigned_bytes(const std::uint32_t (&quants)[bits / 4]) {
  return {{unsigned_bytes<bits>(quants[0], false), unsigned_bytes<bits>(quants[bits / 4 - 1], true)}};
}

/// What the bytes of a quant of 0 are then.
template <int bits>
__device__ __forceinline__ int zero_byte(GroupOffset offset, const GroupWord& group) {
  // Quants of 4 bits without offset are stored 8 higher.
  const int zero = bits == 8 ? 128 : (offset == GroupOffset::none ? 8 : 0);
  return offset == GroupOffset::zero_point ? zero + group.zero_point() : zero;
}

/// w = (byte - level) * scale + minimum for bytes that count from 1024 up; each twice in a word.
struct PairScale {
  std::uint32_t scale, level, minimum;
};

/// Of a group, for unsigned_bytes().
template <int bits>
__device__ __forceinline__ PairScale pair_scale(GroupOffset offset, const GroupWord& group) {
  // All whole numbers here are exact in FP16.
  const auto level = static_cast<float>(1024 + zero_byte<bits>(offset, group));
  return {group.scale_bits() * 0x10001U, narrow_half(level).bits * 0x10001U,
          offset == GroupOffset::minimum ? group.offset_bits() * 0x10001U : 0};
}

/// Four unsigned bytes to four numbers in two words.
__device__ __forceinline__ Words2 scale_bytes(std::uint32_t bytes, const PairScale& by) {
  return {{scale_halves(halves_of_bytes<0>(bytes), by.level, by.scale, by.minimum),
           scale_halves(halves_of_bytes<2>(bytes), by.level, by.scale, by.minimum)}};
}

/// Four unsigned bytes, less a whole number, to FP32 by way of the mantissa, exactly: conversions are slow,
/// and there are as many as weights.
__device__ __forceinline__ void bytes_to_floats(std::uint32_t bytes, float zero, float* to) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#if defined(GALAGO_SIMT)
    to[i] = static_cast<float>(bytes >> 8 * i & 0xffU) - zero;
#else
    to[i] = __uint_as_float(__byte_perm(bytes, 0x4b000000U, 0x7650U + i)) - (8388608.0F + zero);
#endif
  }
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
