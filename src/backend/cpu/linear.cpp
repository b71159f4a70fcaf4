// Linear layers, split over columns.
#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {
void CpuBackend::linear(Execution& exec, const Matrix& x, const Weight& w, const Epilogue& epilogue,
                        const Matrix& y) {
  Cost cost{2.0 * static_cast<double>(x.rows * x.cols * y.cols), bytes_of(x) + w.bytes(), bytes_of(y)};
  if (epilogue.residual.rows > 0) cost.bytes_read += bytes_of(epilogue.residual);
  const kernels::Linear op{.x = x.data,
                           .x_stride = x.stride,
                           .w = w.data,
                           .up = nullptr,
                           .element = element_of(w.format.dtype()),
                           .m = x.rows,
                           .n = y.cols,
                           .k = x.cols,
                           .bias = floats(epilogue.bias),
                           .activation = activation_of(epilogue.activation),
                           .residual = epilogue.residual.rows > 0 ? epilogue.residual.data : nullptr,
                           .residual_stride = epilogue.residual.stride,
                           .y = y.data,
                           .y_stride = y.stride};
  submit_linear(exec, Op::linear, cost, op, w);
}

void CpuBackend::gated_linear(Execution& exec, const Matrix& x, const Weight& gate_up, Activation activation,
                              const Matrix& y) {
  const Cost cost{4.0 * static_cast<double>(x.rows * x.cols * y.cols), bytes_of(x) + gate_up.bytes(),
                  bytes_of(y)};
  const std::byte* gate = static_cast<const std::byte*>(gate_up.data);
  const kernels::Linear op{.x = x.data,
                           .x_stride = x.stride,
                           .w = gate,
                           .up = gate == nullptr ? nullptr : gate + gate_up.bytes() / 2,
                           .element = element_of(gate_up.format.dtype()),
                           .m = x.rows,
                           .n = y.cols,
                           .k = x.cols,
                           .bias = nullptr,
                           .activation = activation_of(activation),
                           .residual = nullptr,
                           .residual_stride = 0,
                           .y = y.data,
                           .y_stride = y.stride};
  submit_linear(exec, Op::gated_linear, cost, op, gate_up);
}

void CpuBackend::submit_linear(Execution& exec, Op kind, const Cost& cost, kernels::Linear op,
                               const Weight& w) {
  kernels::GroupedRows grouped{};
  if (w.format.is_grouped()) {
    grouped = rows_of(w.format.grouped(), op.k);
    op.grouped = &grouped;
  }
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  float* scratch = exec.arena.array<float>(memory::RegionId::activations,
                                           pool_.n_threads() * kernels::linear_scratch_floats);
  kernels::Int8Rows int8{};
  // Weights of 8 bits are chosen for their accuracy, which rounding activations would cost.
  if (op.grouped != nullptr && products_ == QuantisedProducts::int8 && grouped.bits == 4 &&
      kernels::multiplies_int8(grouped)) {
    int8 = take_int8_rows(exec, grouped, op.m, op.k);
    op.int8 = &int8;
    kind = kind == Op::linear ? Op::linear_int8 : Op::gated_linear_int8;
  }
  if (op.m == 0) return;
  exec.queue.submit(kind, cost, [&] {
    if (op.int8 != nullptr) {
      const auto quantise = [&](std::int64_t first, std::int64_t count) {
        kernels_.quantise(op.x, op.x_stride, op.k, int8, first, count);
      };
      // A row takes less time than waking the other threads.
      if (op.m < pool_.n_threads()) {
        quantise(0, op.m);
      } else {
        for_rows(op.m, quantise);
      }
    }
    const std::int64_t grain = column_grain(op.n);
    pool_.parallel_for(ceil_div(op.n, grain), [&](std::int64_t item, int thread) {
      const std::int64_t first = item * grain;
      kernels_.linear(op, first, std::min(grain, op.n - first),
                      scratch + thread * kernels::linear_scratch_floats);
    });
  });
}

kernels::Int8Rows CpuBackend::take_int8_rows(Execution& exec, const kernels::GroupedRows& weights,
                                             std::int64_t m, std::int64_t k) const {
  kernels::Int8Rows rows{};
  rows.stride = ceil_div(k, 32) * 32;
  rows.sum_length = std::min(weights.group, 32);
  const auto region = memory::RegionId::activations;
  rows.quants = exec.arena.array<std::int8_t>(region, m * rows.stride);
  rows.scales = exec.arena.array<float>(region, m * (rows.stride / 32));
  rows.sums = exec.arena.array<float>(region, m * (rows.stride / rows.sum_length));
  return rows;
}

/// Columns of one piece of work: several pieces a thread, so that a slow one does not hold up all.
std::int64_t CpuBackend::column_grain(std::int64_t n) const {
  const std::int64_t pieces = 4 * pool_.n_threads();
  return std::max<std::int64_t>(1, ceil_div(ceil_div(n, pieces), kernels::linear_column_grain)) *
         kernels::linear_column_grain;
}

}  // namespace galago::backend
