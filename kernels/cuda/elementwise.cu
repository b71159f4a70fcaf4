// Ends of linear layers, gates and scaled sums.
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/kernels.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

__global__ void finish_linear_kernel(const LinearEnd op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Global<const float> bias(op.bias);
  const Global<const float> residual(op.residual);
  const Global<float> y(op.y.data);
  const float shift = bias ? bias[i] : 0.0F;
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) {
    const float value = activate(y[row * op.y.stride + i] + shift, op.activation);
    y[row * op.y.stride + i] = residual ? value + residual[row * op.residual_stride + i] : value;
  }
}

struct Gate {
  Rows gate_up, y;
  Activation activation;
};

__global__ void gate_kernel(const Gate op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Global<const float> x(op.gate_up.data);
  const Global<float> y(op.y.data);
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) {
    const std::int64_t at = row * op.gate_up.stride + i;
    y[row * op.y.stride + i] = activate(x[at], op.activation) * x[at + op.y.cols];
  }
}

struct Scale {
  Rows y;
  float scale;
};

__global__ void scale_kernel(const Scale op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Global<float> y(op.y.data);
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) y[row * op.y.stride + i] *= op.scale;
}

struct AddScaled {
  Rows x, y;
  const float* scale;
};

__global__ void add_scaled_kernel(const AddScaled op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Global<const float> x(op.x.data);
  const Global<const float> scale(op.scale);
  const Global<float> y(op.y.data);
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) {
    y[row * op.y.stride + i] += x[row * op.x.stride + i] * scale[i];
  }
}

struct NarrowRows {
  Rows x;
  void* to;
  std::int64_t stride;
};

template <class T>
__global__ void narrow_kernel(const NarrowRows op) {
  const std::int64_t i = element_column();
  if (i >= op.stride) return;
  const Global<const float> x(op.x.data);
  const Global<T> to(static_cast<T*>(op.to));
  for (std::int64_t row = blockIdx.y; row < op.x.rows; row += gridDim.y) {
    to[row * op.stride + i] = narrow_to<T>(i < op.x.cols ? x[row * op.x.stride + i] : 0.0F);
  }
}

template <auto kernel, class Params>
cudaError_t launch_elements(cudaStream_t stream, const char* name, const Rows& rows, const Params& params) {
  if (rows.rows == 0 || rows.cols == 0) return cudaSuccess;
  return launch<kernel>(stream, name, element_grid(rows.rows, rows.cols), element_threads, 0, params);
}

}  // namespace

cudaError_t find_kernels() {
  return find_kernel<scale_kernel>();
}

cudaError_t finish_linear(cudaStream_t stream, const LinearEnd& op) {
  return launch_elements<finish_linear_kernel>(stream, "finish_linear", op.y, op);
}

cudaError_t gate(cudaStream_t stream, const Rows& gate_up, Activation activation, const Rows& y) {
  return launch_elements<gate_kernel>(stream, "gate", y, Gate{gate_up, y, activation});
}

cudaError_t scale_rows(cudaStream_t stream, const Rows& y, float scale) {
  return launch_elements<scale_kernel>(stream, "scale_rows", y, Scale{y, scale});
}

cudaError_t add_scaled(cudaStream_t stream, const Rows& x, const float* scale, const Rows& y) {
  return launch_elements<add_scaled_kernel>(stream, "add_scaled", y, AddScaled{x, y, scale});
}

cudaError_t narrow_rows(cudaStream_t stream, const Rows& x, Element element, void* to) {
  const NarrowRows op{x, to, narrow_stride(x.cols)};
  const Rows filled{nullptr, x.rows, op.stride, op.stride};
  return element == Element::bf16
             ? launch_elements<narrow_kernel<Bfloat16>>(stream, "narrow_rows", filled, op)
             : launch_elements<narrow_kernel<Half>>(stream, "narrow_rows", filled, op);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
