// Norms and scaled sums, split over rows.
#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {

void CpuBackend::layer_norm(Execution& exec, const Matrix& x, const Weight& weight, const Weight& bias,
                            float epsilon, const Matrix& y) {
  const kernels::Norm op{x.data, x.stride, floats(weight), floats(bias), epsilon, x.cols, y.data, y.stride};
  exec.queue.submit(Op::layer_norm, costs::layer_norm(x, weight, bias, y), [&] {
    for_rows(x.rows, [&](std::int64_t first, std::int64_t count) { kernels_.layer_norm(op, first, count); });
  });
}

void CpuBackend::rms_norm(Execution& exec, const Matrix& x, const Weight& weight, float epsilon,
                          const Matrix& y) {
  const kernels::Norm op{x.data, x.stride, floats(weight), nullptr, epsilon, x.cols, y.data, y.stride};
  exec.queue.submit(Op::rms_norm, costs::rms_norm(x, weight, y), [&] {
    for_rows(x.rows, [&](std::int64_t first, std::int64_t count) { kernels_.rms_norm(op, first, count); });
  });
}

void CpuBackend::add_scaled(Execution& exec, const Matrix& x, const Weight& scale, const Matrix& y) {
  exec.queue.submit(Op::add_scaled, costs::add_scaled(x, scale, y), [&] {
    for_rows(x.rows, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t row = first; row < first + count; ++row) {
        // Bound by memory whatever the instruction set, so it needs no kernel of its own.
        const float* from = x.row(row);
        float* to = y.row(row);
        for (std::int64_t i = 0; i < x.cols; ++i) to[i] += from[i] * floats(scale)[i];
      }
    });
  });
}

}  // namespace galago::backend
