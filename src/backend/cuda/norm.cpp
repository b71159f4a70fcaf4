// Norms and scaled sums.
#include "backend/cuda/cuda_backend_class.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

void CudaBackend::layer_norm(Execution& exec, const Matrix& x, const Weight& weight, const Weight& bias,
                             float epsilon, const Matrix& y) {
  const kernels::Norm op{x.data, x.stride, floats(weight), floats(bias), epsilon, x.cols, y.data, y.stride};
  exec.queue.submit(Op::layer_norm, costs::layer_norm(x, weight, bias, y), [&] {
    device_.check(kernels_of_device::layer_norm(device_.stream(), op, x.rows), "layer_norm");
  });
}

void CudaBackend::rms_norm(Execution& exec, const Matrix& x, const Weight& weight, float epsilon,
                           const Matrix& y) {
  const kernels::Norm op{x.data, x.stride, floats(weight), nullptr, epsilon, x.cols, y.data, y.stride};
  exec.queue.submit(Op::rms_norm, costs::rms_norm(x, weight, y), [&] {
    device_.check(kernels_of_device::rms_norm(device_.stream(), op, x.rows), "rms_norm");
  });
}

void CudaBackend::add_scaled(Execution& exec, const Matrix& x, const Weight& scale, const Matrix& y) {
  exec.queue.submit(Op::add_scaled, costs::add_scaled(x, scale, y), [&] {
    device_.check(kernels_of_device::add_scaled(device_.stream(), rows_of(x), floats(scale), rows_of(y)),
                  "add_scaled");
  });
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
