// Reading the scales and minima of grouped rows.
#pragma once

#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {

GALAGO_INLINE float number_at(const std::uint8_t* at, Element element, std::int64_t index) {
  if (element == Element::f16) return widen_f16(reinterpret_cast<const std::uint16_t*>(at)[index]);
  return reinterpret_cast<const float*>(at)[index];
}

/// Numbers [index, index + width).
GALAGO_INLINE Vec numbers_at(const std::uint8_t* at, Element element, std::int64_t index) {
  if (element == Element::f16) return load_f16(reinterpret_cast<const std::uint16_t*>(at) + index);
  return load(reinterpret_cast<const float*>(at) + index);
}

}  // namespace galago::kernels::GALAGO_ISA
