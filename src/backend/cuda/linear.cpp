// Linear layers: few rows go through kernels that read the weights once, many through cuBLAS, a block of rows
// at a time, so that what they need besides does not grow with the rows.
#include <algorithm>

#include "backend/cuda/cuda_backend_class.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {
namespace {

using memory::RegionId;

/// Rows of x in one product.
constexpr std::int64_t product_rows = 512;
/// Elements of grouped weights that are dequantised at once.
constexpr std::int64_t panel_elements = std::int64_t{4} << 20;

const std::byte* row_at(const Weight& w, std::int64_t row) {
  return static_cast<const std::byte*>(w.data) + static_cast<Bytes>(row) * w.format.row_bytes(w.cols());
}

/// `grouped` is where the weights' format is put, if they have one.
void set_grouped(kernels::Linear& op, const Weight& w, kernels::GroupedRows& grouped) {
  if (!w.format.is_grouped()) return;
  grouped = backend::rows_of(w.format.grouped(), w.cols());
  op.grouped = &grouped;
}

kernels::Linear linear_op(const Matrix& x, const Weight& w, const Epilogue& epilogue, const Matrix& y,
                          kernels::GroupedRows& grouped) {
  kernels::Linear op = product_of(x, w, y);
  set_epilogue(op, epilogue);
  set_grouped(op, w, grouped);
  return op;
}

bool is_wide(const Weight& w) {
  return !w.format.is_grouped() && w.format.dtype() == DType::f32;
}

}  // namespace

CudaBackend::ProductScratch CudaBackend::product_scratch(Execution& exec, const Weight& w,
                                                         std::int64_t gated_rows) {
  ProductScratch scratch;
  const std::int64_t k = w.cols();
  const auto take = [&](Bytes bytes) { return exec.arena.region(RegionId::activations).take(bytes); };
  scratch.workspace = take(device_.workspace_bytes() + Blas::workspace_alignment);
  if (scratch.workspace != nullptr) {
    const auto at = reinterpret_cast<std::uintptr_t>(scratch.workspace);
    scratch.workspace +=
        (Blas::workspace_alignment - at % Blas::workspace_alignment) % Blas::workspace_alignment;
  }
  if (!is_wide(w)) {
    scratch.narrowed =
        take(static_cast<Bytes>(product_rows * kernels_of_device::narrow_stride(k)) * sizeof(std::uint16_t));
  }
  if (w.format.is_grouped()) {
    scratch.panel_rows = std::clamp<std::int64_t>(panel_elements / k, 1, w.rows());
    scratch.panel = take(static_cast<Bytes>(scratch.panel_rows * k) * sizeof(std::uint16_t));
  }
  scratch.both =
      exec.arena.array<float>(RegionId::activations, std::min(gated_rows, product_rows) * w.rows());
  return scratch;
}

void CudaBackend::multiply(const Matrix& x, const Weight& w, const ProductScratch& scratch, bool add,
                           const Matrix& y) {
  Gemm gemm{x.rows, y.cols, x.cols, x.data, x.stride, w.data, DType::f32, add, y.data, y.stride};
  if (is_wide(w)) return device_.multiply(gemm, scratch.workspace, "linear");
  gemm.dtype = w.format.is_grouped() ? DType::f16 : w.format.dtype();
  gemm.x = scratch.narrowed;
  gemm.x_stride = kernels_of_device::narrow_stride(x.cols);
  device_.check(
      kernels_of_device::narrow_rows(device_.stream(), rows_of(x), element_of(gemm.dtype), scratch.narrowed),
      "linear");
  if (!w.format.is_grouped()) return device_.multiply(gemm, scratch.workspace, "linear");
  const kernels::GroupedRows format = backend::rows_of(w.format.grouped(), w.cols());
  gemm.w = scratch.panel;
  for (std::int64_t first = 0; first < w.rows(); first += scratch.panel_rows) {
    gemm.n = std::min(scratch.panel_rows, w.rows() - first);
    gemm.y = y.data + first;
    device_.check(kernels_of_device::dequantise(device_.stream(), format, row_at(w, first), gemm.n, w.cols(),
                                                scratch.panel),
                  "linear");
    device_.multiply(gemm, scratch.workspace, "linear");
  }
}

bool CudaBackend::multiply_some(const kernels::Linear& op, const ProductScratch& scratch,
                                std::string_view what) {
  namespace device_kernels = kernels_of_device;
  if (!tensor_cores_ || op.m > device_kernels::max_tensor_rows || !device_kernels::takes_tensor_product(op)) {
    return false;
  }
  const kernels::Element element = op.grouped != nullptr ? kernels::Element::f16 : op.element;
  // Rows of x are only read.
  const device_kernels::Rows x{const_cast<float*>(op.x), op.m, op.k, op.x_stride};
  device_.check(device_kernels::narrow_rows(device_.stream(), x, element, scratch.narrowed), what);
  const auto partials = static_cast<std::int64_t>(device_.workspace_bytes() / sizeof(float));
  const std::int64_t n_splits = device_kernels::tensor_product_splits(op, device_.n_processors(), partials);
  device_.check(
      device_kernels::linear_tensor(
          device_.stream(), op, {scratch.narrowed, reinterpret_cast<float*>(scratch.workspace), n_splits}),
      what);
  return true;
}

void CudaBackend::multiply_few(const Matrix& x, const Weight& w, const Epilogue& epilogue, const Matrix& y) {
  kernels::GroupedRows grouped{};
  const kernels::Linear all = linear_op(x, w, epilogue, y, grouped);
  for (std::int64_t first = 0; first < x.rows; first += kernels_of_device::max_gemv_rows) {
    kernels::Linear op = all;
    op.m = std::min(kernels_of_device::max_gemv_rows, x.rows - first);
    op.x = x.row(first);
    op.y = y.row(first);
    if (op.residual != nullptr) op.residual = epilogue.residual.row(first);
    device_.check(kernels_of_device::gemv(device_.stream(), op), "linear");
  }
}

void CudaBackend::linear(Execution& exec, const Matrix& x, const Weight& w, const Epilogue& epilogue,
                         const Matrix& y) {
  const bool has_residual = epilogue.residual.rows > 0;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const ProductScratch scratch = product_scratch(exec, w, 0);
  if (x.rows == 0) return;
  exec.queue.submit(Op::linear, costs::linear(x, w, epilogue, y), [&] {
    // A product can add to what is there, but not after an activation.
    const bool in_place = has_residual && epilogue.residual.data == y.data;
    kernels::GroupedRows grouped{};
    if (x.rows > kernels_of_device::max_gemv_rows &&
        multiply_some(linear_op(x, w, epilogue, y, grouped), scratch, "linear")) {
      return;
    }
    if (x.rows <= kernels_of_device::max_gemv_rows || (in_place && epilogue.activation != Activation::none)) {
      return multiply_few(x, w, epilogue, y);
    }
    for (std::int64_t first = 0; first < x.rows; first += product_rows) {
      const std::int64_t count = std::min(product_rows, x.rows - first);
      multiply(x.slice_rows(first, count), w, scratch, in_place, y.slice_rows(first, count));
    }
    const bool to_add = has_residual && !in_place;
    if (!epilogue.bias.present() && epilogue.activation == Activation::none && !to_add) return;
    device_.check(
        kernels_of_device::finish_linear(
            device_.stream(), {rows_of(y), floats(epilogue.bias), activation_of(epilogue.activation),
                               to_add ? epilogue.residual.data : nullptr, epilogue.residual.stride}),
        "linear");
  });
}

void CudaBackend::gated_linear(Execution& exec, const Matrix& x, const Weight& gate_up, Activation activation,
                               const Matrix& y) {
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const ProductScratch scratch = product_scratch(exec, gate_up, x.rows);
  if (x.rows == 0) return;
  exec.queue.submit(Op::gated_linear, costs::gated_linear(x, gate_up, y), [&] {
    kernels::Linear op = gated_product_of(x, gate_up, activation, y);
    kernels::GroupedRows grouped{};
    set_grouped(op, gate_up, grouped);
    if (x.rows <= kernels_of_device::max_gemv_rows) {
      return device_.check(kernels_of_device::gemv(device_.stream(), op), "gated_linear");
    }
    if (multiply_some(op, scratch, "gated_linear")) return;
    for (std::int64_t first = 0; first < x.rows; first += product_rows) {
      const std::int64_t count = std::min(product_rows, x.rows - first);
      const Matrix both{scratch.both, count, 2 * y.cols, 2 * y.cols};
      multiply(x.slice_rows(first, count), gate_up, scratch, false, both);
      device_.check(kernels_of_device::gate(device_.stream(), rows_of(both), activation_of(activation),
                                            rows_of(y.slice_rows(first, count))),
                    "gated_linear");
    }
  });
}

void CudaBackend::gate(Execution& exec, const Matrix& x, Activation activation, const Matrix& y) {
  exec.queue.submit(Op::gated_linear, costs::gate(x, y), [&] {
    device_.check(
        kernels_of_device::gate(device_.stream(), rows_of(x), activation_of(activation), rows_of(y)), "gate");
  });
}

void CudaBackend::add_low_rank(Execution& exec, const Matrix& x, const LowRank& factors,
                               const Matrix& scratch, const Matrix& y) {
  linear(exec, x, factors.a, {}, scratch);
  exec.queue.submit(Op::linear, costs::scale(scratch), [&] {
    device_.check(kernels_of_device::scale_rows(device_.stream(), rows_of(scratch), factors.scale),
                  "add_low_rank");
  });
  linear(exec, scratch, factors.b, {.residual = y}, y);
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
