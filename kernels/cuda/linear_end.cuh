// What linear layers do to a sum on its way out.
#pragma once

#include "kernels/cuda/activation.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// `up` counts where the layer is gated.
__device__ __forceinline__ void store_result(const Linear& op, std::int64_t row, std::int64_t column,
                                             float sum, float up) {
  const Global<const float> bias(op.bias);
  const Global<const float> residual(op.residual);
  float value = activate(bias ? sum + bias[column] : sum, op.activation);
  if (op.up != nullptr) value *= up;
  if (residual) value += residual[row * op.residual_stride + column];
  Global<float>(op.y)[row * op.y_stride + column] = value;
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
