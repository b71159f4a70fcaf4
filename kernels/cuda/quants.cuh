// Packed quants to pairs of FP16 numbers, without a conversion an element.
#pragma once

#include "kernels/cuda/tensor_core.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// w = (byte - level) * scale + minimum for bytes that count from 1024 up; each twice in a word.
struct PairScale {
  std::uint32_t scale, level, minimum;
};

/// Of a group's FP16 scale and what is stored beside it: an FP16 minimum or a signed zero point.
template <int bits>
__device__ __forceinline__ PairScale pair_scale(GroupOffset kind, std::uint32_t scale, std::uint32_t offset) {
  // Signed bytes become unsigned ones, 128 higher. All whole numbers here are exact in FP16.
  int zero = bits == 4 ? (kind == GroupOffset::none ? 8 : 0) : 128;
  if (kind == GroupOffset::zero_point) zero += static_cast<std::int8_t>(offset);
  return {scale * 0x10001U, narrow_half(static_cast<float>(1024 + zero)).bits * 0x10001U,
          kind == GroupOffset::minimum ? offset * 0x10001U : 0};
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
