// Activations, an element at a time.
#pragma once

#include "kernels/cpu/kernels.h"
#include "kernels/cuda/primitives.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

__device__ __forceinline__ float activate(float x, Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return 0.5F * x * (1.0F + erff(x * 0.70710678118654752F));
    case Activation::quick_gelu:
      return x / (1.0F + expf(-1.702F * x));
    case Activation::silu:
      return x / (1.0F + expf(-x));
    case Activation::none:
      break;
  }
  return x;
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
