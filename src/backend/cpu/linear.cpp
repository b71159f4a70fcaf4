// Linear layers, split over columns.
#include <array>

#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {

void CpuBackend::linear(Execution& exec, const Matrix& x, const Weight& w, const Epilogue& epilogue,
                        const Matrix& y) {
  kernels::Linear op = product_of(x, w, y);
  set_epilogue(op, epilogue);
  submit_linear(exec, Op::linear, costs::linear(x, w, epilogue, y), op, w);
}

void CpuBackend::gated_linear(Execution& exec, const Matrix& x, const Weight& gate_up, Activation activation,
                              const Matrix& y) {
  submit_linear(exec, Op::gated_linear, costs::gated_linear(x, gate_up, y),
                gated_product_of(x, gate_up, activation, y), gate_up);
}

void CpuBackend::submit_linear(Execution& exec, Op kind, const Cost& cost, kernels::Linear op,
                               const Weight& w) {
  kernels::GroupedRows grouped{};
  if (w.format.is_grouped()) {
    grouped = rows_of(w.format.grouped(), op.k);
    op.grouped = &grouped;
  }
  const bool bf16 = rounds_to_bf16(op);
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  float* scratch = exec.arena.array<float>(memory::RegionId::activations,
                                           pool_.n_threads() * kernels::linear_scratch_floats(bf16));
  std::array<kernels::Int8Rows, kernels::max_int8_terms> terms{};
  const std::int32_t n_terms = int8_terms(op);
  if (n_terms > 0) {
    op.int8 = terms.data();
    op.n_int8 = n_terms;
    for (std::int32_t i = 0; i < n_terms; ++i) terms[static_cast<std::size_t>(i)] = take_int8_rows(exec, op);
    if (products_ != Products::exact) kind = kind == Op::linear ? Op::linear_int8 : Op::gated_linear_int8;
  }
  kernels::Bf16Rows rows{};
  if (bf16) {
    rows.n_pairs = ceil_div(op.k, 16) * 8;
    rows.pairs = exec.arena.array<std::uint32_t>(
        memory::RegionId::activations,
        ceil_div(op.m, kernels::bf16_panel) * rows.n_pairs * kernels::bf16_panel);
    op.bf16 = &rows;
    kind = kind == Op::linear ? Op::linear_bf16 : Op::gated_linear_bf16;
  }
  if (op.m == 0) return;
  exec.queue.submit(kind, cost, [&] {
    if (op.int8 != nullptr) round_to_int8(op);
    if (op.bf16 != nullptr) round_to_bf16(op);
    multiply_columns(op, scratch);
  });
}

void CpuBackend::multiply_columns(const kernels::Linear& op, float* scratch) {
  const std::int64_t grain = column_grain(op);
  pool_.parallel_for(ceil_div(op.n, grain), [&](std::int64_t item, int thread) {
    const std::int64_t first = item * grain;
    const std::int64_t count = std::min(grain, op.n - first);
    kernels_.linear(op, first, count, scratch + thread * kernels::linear_scratch_floats(op.bf16 != nullptr));
  });
}

std::int32_t CpuBackend::int8_terms(const kernels::Linear& op) const {
  if (op.grouped == nullptr || !kernels::multiplies_int8(*op.grouped) || rounds_to_bf16(op)) return 0;
  if (products_ == Products::exact) {
    // Unpacking weights of 4 bits to FP32 takes longer than three whole products do.
    return op.m <= kernels::linear_few_rows && kernels::reads_in_eights(*op.grouped) ? kernels::max_int8_terms
                                                                                     : 0;
  }
  // Weights of 8 bits are chosen for their accuracy: activations are rounded beside them only where that
  // gains much.
  if (op.grouped->bits != 4 && !kernels_.gains_from_int8) return 0;
  const bool down_projection = op.k > op.n && op.up == nullptr && op.activation == kernels::Activation::none;
  return down_projection ? 2 : 1;
}

void CpuBackend::round_to_int8(const kernels::Linear& op) {
  const auto round_rows = [&](std::int64_t first, std::int64_t count) {
    kernels_.quantise(op.x, op.x_stride, op.k, op.int8, op.n_int8, first, count);
  };
  // A row takes less time than waking the other threads.
  if (op.m < pool_.n_threads()) return round_rows(0, op.m);
  pool_.parallel_for(op.m, [&](std::int64_t row, int) { round_rows(row, 1); });
}

bool CpuBackend::rounds_to_bf16(const kernels::Linear& op) const {
  if (products_ == Products::exact || !kernels_.multiplies_bf16 || op.m <= kernels::linear_few_rows)
    return false;
  if (op.grouped == nullptr) return op.element != kernels::Element::f32;
  return kernels_.bf16_beats_int8 || !kernels::multiplies_int8(*op.grouped);
}

void CpuBackend::round_to_bf16(const kernels::Linear& op) {
  pool_.parallel_for(ceil_div(op.m, kernels::bf16_panel), [&](std::int64_t panel, int) {
    kernels_.round_to_bf16(op.x, op.x_stride, op.m, op.k, *op.bf16, panel, 1);
  });
}

kernels::Int8Rows CpuBackend::take_int8_rows(Execution& exec, const kernels::Linear& op) const {
  kernels::Int8Rows rows{};
  rows.stride = ceil_div(op.k, 32) * 32;
  rows.sum_length = std::min(op.grouped->group, 32);
  rows.paired = op.m <= kernels::linear_few_rows && kernels::reads_in_eights(*op.grouped);
  const auto region = memory::RegionId::activations;
  rows.quants = exec.arena.array<std::int8_t>(region, op.m * rows.stride);
  rows.scales = exec.arena.array<float>(region, op.m * (rows.stride / 32));
  rows.sums = exec.arena.array<float>(region, op.m * (rows.stride / rows.sum_length));
  return rows;
}

std::int64_t CpuBackend::column_grain(const kernels::Linear& op) const {
  // Threads that start together do not end together: what the last one has left should be short. Of many rows
  // of x that is a few panels, of a few rows microseconds.
  const std::int64_t pieces = (op.m > kernels::linear_few_rows ? 4 : 8) * pool_.n_threads();
  return std::max<std::int64_t>(1, ceil_div(ceil_div(op.n, pieces), kernels::linear_column_grain)) *
         kernels::linear_column_grain;
}

}  // namespace galago::backend
