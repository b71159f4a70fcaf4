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
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1F;
  const std::uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | f32_infinity | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;  // subnormal: exact in FP32
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
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
  for (std::size_t i = 0; i < to.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, from.data() + 2 * i, sizeof bits);
    to[i] = dtype == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
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
