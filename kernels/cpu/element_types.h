// Reading stored elements as FP32: one type per Element, for kernels that are templates over them.
#pragma once

#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {

struct F32 {
  using Storage = float;
  GALAGO_INLINE Vec vector(const float* p) { return load(p); }
  GALAGO_INLINE float scalar(float value) { return value; }
};

struct F16 {
  using Storage = std::uint16_t;
  GALAGO_INLINE Vec vector(const std::uint16_t* p) { return load_f16(p); }
  GALAGO_INLINE float scalar(std::uint16_t bits) { return widen_f16(bits); }
};

struct Bf16 {
  using Storage = std::uint16_t;
  GALAGO_INLINE Vec vector(const std::uint16_t* p) { return load_bf16(p); }
  GALAGO_INLINE float scalar(std::uint16_t bits) { return widen_bf16(bits); }
};

}  // namespace galago::kernels::GALAGO_ISA
