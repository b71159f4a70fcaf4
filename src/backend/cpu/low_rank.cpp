// Low-rank side branches of linear layers, and the gate of an MLP whose halves had branches added.
#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {

void CpuBackend::add_low_rank(Execution& exec, const Matrix& x, const LowRank& factors, const Matrix& scratch,
                              const Matrix& y) {
  linear(exec, x, factors.a, {}, scratch);
  exec.queue.submit(Op::linear, costs::scale(scratch), [&] {
    for (std::int64_t row = 0; row < scratch.rows; ++row) {
      for (std::int64_t i = 0; i < scratch.cols; ++i) scratch.row(row)[i] *= factors.scale;
    }
  });
  linear(exec, scratch, factors.b, {.residual = y}, y);
}

void CpuBackend::gate(Execution& exec, const Matrix& x, Activation activation, const Matrix& y) {
  exec.queue.submit(Op::gated_linear, costs::gate(x, y), [&] {
    for_rows(y.rows, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t row = first; row < first + count; ++row) {
        kernels_.gate(x.row(row), x.row(row) + y.cols, activation_of(activation), y.row(row), y.cols);
      }
    });
  });
}

}  // namespace galago::backend
