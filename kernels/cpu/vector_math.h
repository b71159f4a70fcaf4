// exp, erf and the activations on vectors.
#pragma once

#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {

/// e^x within 2 ulp for x in [-87, 88]; 0 or the largest power beyond. Cody-Waite reduction and Cephes'
/// polynomial.
GALAGO_INLINE Vec exp(Vec x) {
  x = min(max(x, set1(-87.3F)), set1(88.3F));
  const Vec n = round(mul(x, set1(1.44269504088896341F)));
  Vec r = fma(n, set1(-0.693359375F), x);
  r = fma(n, set1(2.12194440e-4F), r);
  Vec p = set1(1.9875691500e-4F);
  p = fma(p, r, set1(1.3981999507e-3F));
  p = fma(p, r, set1(8.3334519073e-3F));
  p = fma(p, r, set1(4.1665795894e-2F));
  p = fma(p, r, set1(1.6666665459e-1F));
  p = fma(p, r, set1(5.0000001201e-1F));
  p = add(fma(mul(r, r), p, r), set1(1.0F));
  return mul(p, power_of_two(n));
}

/// erf within 1.5e-7 (Abramowitz and Stegun, 7.1.26).
GALAGO_INLINE Vec erf(Vec x) {
  const Vec absolute = with_sign(x, set1(1.0F));
  const Vec t = div(set1(1.0F), fma(absolute, set1(0.3275911F), set1(1.0F)));
  Vec p = set1(1.061405429F);
  p = fma(p, t, set1(-1.453152027F));
  p = fma(p, t, set1(1.421413741F));
  p = fma(p, t, set1(-0.284496736F));
  p = fma(p, t, set1(0.254829592F));
  const Vec tail = mul(mul(p, t), exp(mul(absolute, sub(set1(0.0F), absolute))));
  return with_sign(sub(set1(1.0F), tail), x);
}

/// x / (1 + e^(-slope x))
GALAGO_INLINE Vec sigmoid_linear(Vec x, float slope) {
  return div(x, add(set1(1.0F), exp(mul(x, set1(-slope)))));
}

GALAGO_INLINE Vec activate(Vec x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu:
      return mul(mul(x, set1(0.5F)), add(set1(1.0F), erf(mul(x, set1(0.70710678118654752F)))));
    case Activation::quick_gelu:
      return sigmoid_linear(x, 1.702F);
    case Activation::silu:
      return sigmoid_linear(x, 1.0F);
  }
  return x;
}

}  // namespace galago::kernels::GALAGO_ISA
