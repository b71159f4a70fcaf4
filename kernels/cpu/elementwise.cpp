// Rotation of heads, sums of rows, and rows between FP32 and the 16-bit types.
#include <string.h>

#include "kernels/cpu/vector_math.h"

namespace galago::kernels::GALAGO_ISA {

void rope_head(float* x, const float* table, std::int64_t head_size) {
  const std::int64_t half = head_size / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const float cosine = table[i];
    const float sine = table[half + i];
    const float first = x[i];
    const float second = x[half + i];
    x[i] = first * cosine - second * sine;
    x[half + i] = second * cosine + first * sine;
  }
}

namespace {

std::uint16_t narrow_bf16(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffU) > 0x7f800000U)
    return static_cast<std::uint16_t>(bits >> 16 | 64U);  // NaN stays NaN
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

void narrow_to_f16(const float* from, std::uint16_t* to, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) store_f16(to + i, load(from + i));
  for (; i < n; ++i) to[i] = narrow_f16(from[i]);
}

}  // namespace

void narrow(const float* from, void* to, Element element, std::int64_t n) {
  switch (element) {
    case Element::f32:
      memcpy(to, from, static_cast<std::size_t>(n) * 4);
      return;
    case Element::f16:
      narrow_to_f16(from, static_cast<std::uint16_t*>(to), n);
      return;
    case Element::bf16:
      for (std::int64_t i = 0; i < n; ++i) static_cast<std::uint16_t*>(to)[i] = narrow_bf16(from[i]);
      return;
  }
}

void widen(const void* from, Element element, float* to, std::int64_t n) {
  const auto* bits = static_cast<const std::uint16_t*>(from);
  switch (element) {
    case Element::f32:
      memcpy(to, from, static_cast<std::size_t>(n) * 4);
      return;
    case Element::f16:
      for (std::int64_t i = 0; i < n; ++i) to[i] = widen_f16(bits[i]);
      return;
    case Element::bf16:
      for (std::int64_t i = 0; i < n; ++i) to[i] = widen_bf16(bits[i]);
      return;
  }
}

void gate(const float* gate, const float* up, Activation activation, float* to, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    store(to + i, mul(activate(load(gate + i), activation), load(up + i)));
  }
  float tail[width] = {};
  for (std::int64_t j = i; j < n; ++j) tail[j - i] = gate[j];
  store(tail, activate(load(tail), activation));
  for (std::int64_t j = i; j < n; ++j) to[j] = tail[j - i] * up[j];
}

void add(const float* a, const float* b, float* to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = a[i] + b[i];
}

}  // namespace galago::kernels::GALAGO_ISA
