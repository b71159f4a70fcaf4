// Linear layers, split over columns.
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
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  float* scratch = exec.arena.array<float>(memory::RegionId::activations,
                                           pool_.n_threads() * kernels::linear_scratch_floats);
  kernels::Int8Rows int8{};
  if (rounds_to_int8(op)) {
    int8 = take_int8_rows(exec, grouped, op.m, op.k);
    op.int8 = &int8;
    kind = kind == Op::linear ? Op::linear_int8 : Op::gated_linear_int8;
  }
  kernels::Int8Rows rest{};
  float* errors = nullptr;
  if (rounds_twice(op)) {
    rest = take_int8_rows(exec, grouped, op.m, op.k);
    errors = exec.arena.array<float>(memory::RegionId::activations, pool_.n_threads() * op.k);
    op.rest = &rest;
  }
  kernels::Bf16Rows bf16{};
  if (rounds_to_bf16(op)) {
    bf16.stride = op.k + op.k % 2;
    bf16.values = exec.arena.array<std::uint16_t>(memory::RegionId::activations, op.m * bf16.stride);
    op.bf16 = &bf16;
  }
  if (op.m == 0) return;
  exec.queue.submit(kind, cost, [&] {
    if (op.int8 != nullptr) {
      const auto round_row = [&](std::int64_t row, int thread) {
        kernels_.quantise(op.x, op.x_stride, op.k, int8, row, 1);
        if (op.rest != nullptr) round_rest(op, row, errors + thread * op.k, rest);
      };
      // A row takes less time than waking the other threads.
      if (op.m < pool_.n_threads()) {
        for (std::int64_t row = 0; row < op.m; ++row) round_row(row, 0);
      } else {
        pool_.parallel_for(op.m, round_row);
      }
    }
    if (op.bf16 != nullptr) {
      for_rows(op.m, [&](std::int64_t first, std::int64_t count) { round_to_bf16(op, first, count); });
    }
    multiply_columns(op, scratch);
  });
}

void CpuBackend::multiply_columns(const kernels::Linear& op, float* scratch) {
  const std::int64_t grain = column_grain(op);
  pool_.parallel_for(ceil_div(op.n, grain), [&](std::int64_t item, int thread) {
    const std::int64_t first = item * grain;
    const std::int64_t count = std::min(grain, op.n - first);
    kernels_.linear(op, first, count, scratch + thread * kernels::linear_scratch_floats);
  });
}

bool CpuBackend::rounds_to_int8(const kernels::Linear& op) const {
  if (op.grouped == nullptr || products_ == Products::exact) return false;
  // Weights of 8 bits are chosen for their accuracy: activations are rounded beside them only where that
  // gains much.
  return kernels::multiplies_int8(*op.grouped) && (op.grouped->bits == 4 || kernels_.gains_from_int8);
}

bool CpuBackend::rounds_twice(const kernels::Linear& op) const {
  return rounds_to_int8(op) && op.k > op.n && op.up == nullptr && op.activation == kernels::Activation::none;
}

void CpuBackend::round_rest(const kernels::Linear& op, std::int64_t row, float* errors,
                            const kernels::Int8Rows& rest) const {
  const float* x = op.x + row * op.x_stride;
  const std::int8_t* quants = op.int8->quants + row * op.int8->stride;
  const float* scales = op.int8->scales + row * (op.int8->stride / 32);
  for (std::int64_t i = 0; i < op.k; ++i) {
    errors[i] = x[i] - scales[i / 32] * static_cast<float>(quants[i]);
  }
  kernels_.quantise(errors, 0, op.k, rest, row, 1);
}

bool CpuBackend::rounds_to_bf16(const kernels::Linear& op) const {
  return op.grouped == nullptr && products_ != Products::exact && kernels_.multiplies_bf16 &&
         op.element != kernels::Element::f32 && op.m > kernels::linear_few_rows;
}

void CpuBackend::round_to_bf16(const kernels::Linear& op, std::int64_t first, std::int64_t count) const {
  for (std::int64_t row = first; row < first + count; ++row) {
    std::uint16_t* to = op.bf16->values + row * op.bf16->stride;
    kernels_.narrow(op.x + row * op.x_stride, to, kernels::Element::bf16, op.k);
    if (op.k % 2 != 0) to[op.k] = 0;
  }
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

std::int64_t CpuBackend::column_grain(const kernels::Linear& op) const {
  // Threads that start together do not end together: what the last one has left should be short. Of many rows
  // of x that is a few panels, of a few rows microseconds.
  const std::int64_t pieces = (op.m > kernels::linear_few_rows ? 4 : 16) * pool_.n_threads();
  return std::max<std::int64_t>(1, ceil_div(ceil_div(op.n, pieces), kernels::linear_column_grain)) *
         kernels::linear_column_grain;
}

}  // namespace galago::backend
