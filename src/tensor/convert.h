// Exact scalar conversions between FP32 and the 16-bit types, for file readers and tests (kernels have their
// own).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace galago {

/// Widening is exact; NaNs stay NaNs.
float f16_to_f32(std::uint16_t bits);
float bf16_to_f32(std::uint16_t bits);

/// Narrowing rounds to the nearest value, ties to even; what is too large becomes infinity, NaN stays NaN.
std::uint16_t f32_to_f16(float value);
std::uint16_t f32_to_bf16(float value);

/// Elements of a file's bytes, which need no alignment, as FP32. `dtype` is f32, f16 or bf16 (others are our
/// own mistake: ErrorCode::internal) and `from` holds exactly to.size() elements.
void to_f32(DType dtype, std::span<const std::byte> from, std::span<float> to);
void from_f32(DType dtype, std::span<const float> from, std::span<std::byte> to);

}  // namespace galago
