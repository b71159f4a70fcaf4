// Norms and scaled sums.
#include "backend/cuda/cuda_backend_class.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

void CudaBackend::layer_norm(Execution& exec, const Matrix& x, const Weight& weight, const Weight& bias,
                             float epsilon, const Matrix& y) {
  const kernels::Norm op{x.data, x.stride, floats(weight), floats(bias), epsilon, x.cols, y.data, y.stride};
  const Cost cost{8.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + weight.bytes() + bias.bytes(),
                  bytes_of(y)};
  exec.queue.submit(Op::layer_norm, cost, [&] {
    device_.check(kernels_of_device::layer_norm(device_.stream(), op, x.rows), "layer_norm");
  });
}

void CudaBackend::rms_norm(Execution& exec, const Matrix& x, const Weight& weight, float epsilon,
                           const Matrix& y) {
  const kernels::Norm op{x.data, x.stride, floats(weight), nullptr, epsilon, x.cols, y.data, y.stride};
  const Cost cost{4.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + weight.bytes(), bytes_of(y)};
  exec.queue.submit(Op::rms_norm, cost, [&] {
    device_.check(kernels_of_device::rms_norm(device_.stream(), op, x.rows), "rms_norm");
  });
}

void CudaBackend::add_scaled(Execution& exec, const Matrix& x, const Weight& scale, const Matrix& y) {
  const Cost cost{2.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + bytes_of(y) + scale.bytes(),
                  bytes_of(y)};
  exec.queue.submit(Op::add_scaled, cost, [&] {
    device_.check(kernels_of_device::add_scaled(device_.stream(), rows_of(x), floats(scale), rows_of(y)),
                  "add_scaled");
  });
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
