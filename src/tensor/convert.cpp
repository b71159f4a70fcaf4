// Bit-level conversions; the rounding cases are spelled out because tests hold every kernel to them.
#include "tensor/convert.h"

#include <bit>
#include <cstring>

#include "base/fail.h"

namespace galago {
namespace {

constexpr std::uint32_t f32_infinity = 0x7F80'0000;

/// `bits` shifted right by `shift` (1 to 31), rounded to nearest, ties to even.
constexpr std::uint32_t shift_rounded(std::uint32_t bits, unsigned shift) {
  const std::uint32_t kept = bits >> shift;
  const std::uint32_t lost = bits & ((1u << shift) - 1);
  const std::uint32_t half = 1u << (shift - 1);
  return kept + (lost > half || (lost == half && (kept & 1)) ? 1 : 0);
}

template <float (*widened)(std::uint16_t)>
void widen(std::span<const std::byte> from, std::span<float> to) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, from.data() + 2 * i, sizeof bits);
    to[i] = widened(bits);
  }
}

void check_sizes(DType dtype, std::size_t bytes, std::size_t elements) {
  if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16) {
    fail(ErrorCode::internal, "no conversion between fp32 and {}", name_of(dtype));
  }
  if (bytes / size_of(dtype) != elements || bytes % size_of(dtype) != 0) {
    fail(ErrorCode::internal, "{} bytes are not {} elements of {}", bytes, elements, name_of(dtype));
  }
}

}  // namespace

float f16_to_f32(std::uint16_t bits) {
  // Without branches, so that loops become vectors: FP16's exponent stands 112 too low in FP32, and the
  // product is exact for subnormals, too. Infinity and NaN have all bits of the exponent set in both.
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t magnitude = (bits & 0x7FFFu) << 13;
  const std::uint32_t special = magnitude >= (0x7C00u << 13) ? f32_infinity : 0;
  const float value = std::bit_cast<float>(magnitude) * 0x1p112F;
  return std::bit_cast<float>(sign | special | std::bit_cast<std::uint32_t>(value));
}

float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t f32_to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7FFF'FFFFu;
  if (magnitude > f32_infinity)
    return static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x3FFu));
  const std::uint32_t exponent = magnitude >> 23;
  if (exponent >= 143) return static_cast<std::uint16_t>(sign | 0x7C00u);  // 65536 and above
  if (exponent >= 113) {  // normal in FP16; a carry out of the mantissa lands in the exponent, up to infinity
    return static_cast<std::uint16_t>(sign | (shift_rounded(magnitude, 13) - (112u << 10)));
  }
  if (exponent < 102) return static_cast<std::uint16_t>(sign);  // below half of the smallest subnormal
  const std::uint32_t mantissa = (magnitude & 0x7F'FFFFu) | 0x80'0000u;
  return static_cast<std::uint16_t>(sign | shift_rounded(mantissa, 126 - exponent));
}

std::uint16_t f32_to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFF'FFFFu) > f32_infinity) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>(shift_rounded(bits, 16));
}

void to_f32(DType dtype, std::span<const std::byte> from, std::span<float> to) {
  check_sizes(dtype, from.size(), to.size());
  if (to.empty()) return;
  if (dtype == DType::f32) {
    std::memcpy(to.data(), from.data(), from.size());
    return;
  }
  dtype == DType::f16 ? widen<f16_to_f32>(from, to) : widen<bf16_to_f32>(from, to);
}

void from_f32(DType dtype, std::span<const float> from, std::span<std::byte> to) {
  check_sizes(dtype, to.size(), from.size());
  if (from.empty()) return;
  if (dtype == DType::f32) {
    std::memcpy(to.data(), from.data(), to.size());
    return;
  }
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::uint16_t bits = dtype == DType::f16 ? f32_to_f16(from[i]) : f32_to_bf16(from[i]);
    std::memcpy(to.data() + 2 * i, &bits, sizeof bits);
  }
}

}  // namespace galago
