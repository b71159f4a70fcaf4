// Attention within tiles and over KV pages, and what goes into the pages.
#include <algorithm>

#include "backend/cuda/cuda_backend_class.h"
#include "backend/cuda/step_rows.h"
#include "base/fail.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {
namespace {

using memory::RegionId;

void check_head_size(const Heads& heads) {
  if (heads.head_size > kernels_of_device::max_attend_head_size) {
    fail(ErrorCode::model, "heads of {} elements, the CUDA kernels take up to {}; choose --device cpu",
         heads.head_size, kernels_of_device::max_attend_head_size);
  }
}

kernels_of_device::PagedKeys paged_keys(const LayerPages& pages, const Heads& heads,
                                        const std::int32_t* table) {
  const bool is_grouped = pages.format.is_grouped();
  return {pages.base,
          static_cast<std::int64_t>(pages.page_stride),
          pages.page_tokens,
          is_grouped ? kernels::Element::f32 : element_of(pages.format.dtype()),
          is_grouped ? backend::rows_of(pages.format.grouped(), heads.head_size) : kernels::GroupedRows{},
          table};
}

kernels_of_device::Attend paged_op(const Matrix& q, const StepRows& rows, const std::int32_t* table,
                                   const LayerPages& pages, const Heads& heads, const Matrix& out) {
  return {.q = rows_of(q.slice_rows(rows.first_row(), rows.n_rows())),
          .out = rows_of(out.slice_rows(rows.first_row(), rows.n_rows())),
          .k = nullptr,
          .v = nullptr,
          .kv_stride = 0,
          .paged = paged_keys(pages, heads, table),
          .n_heads = heads.n_heads,
          .n_kv_heads = heads.n_kv_heads,
          .head_size = heads.head_size,
          .scale = heads.scale,
          .tile_rows = 0,
          .first_position = rows.sequences.front().first_place(),
          .window = heads.window,
          .sinks = heads.sinks};
}

void check_pages(const LayerPages& pages, const Heads& heads) {
  if (!pages.format.is_grouped()) return;
  if (kernels_of_device::takes_pages(backend::rows_of(pages.format.grouped(), heads.head_size))) return;
  fail(ErrorCode::usage,
       "keys and values in {}, the CUDA kernels take fp32, fp16, and int8 and int4 in groups of 32 with fp16 "
       "scales",
       describe(pages.format));
}

}  // namespace

void CudaBackend::append_kv(Execution& exec, const Matrix& k, const Matrix& v, const StepRows& rows,
                            const Heads& heads, const LayerPages& pages) {
  check_pages(pages, heads);
  exec.queue.submit(Op::append_kv, costs::append_kv(k, v, heads, pages), [&] {
    const DeviceRows on_device = device_rows(rows, 0);
    device_.check(kernels_of_device::append_kv(device_.stream(), rows_of(k), rows_of(v), on_device.places,
                                               heads.head_size, paged_keys(pages, heads, on_device.pages)),
                  "append_kv");
  });
}

void CudaBackend::attend_tile(Execution& exec, const Matrix& q, const Matrix& k, const Matrix& v,
                              std::int64_t tokens_per_tile, const Heads& heads, const Matrix& out) {
  check_head_size(heads);
  exec.queue.submit(Op::attend_tile, costs::attend_tile(q, tokens_per_tile, heads, k), [&] {
    const kernels_of_device::Attend op{.q = rows_of(q),
                                       .out = rows_of(out),
                                       .k = k.data,
                                       .v = v.data,
                                       .kv_stride = k.stride,
                                       .paged = {},
                                       .n_heads = heads.n_heads,
                                       .n_kv_heads = heads.n_kv_heads,
                                       .head_size = heads.head_size,
                                       .scale = heads.scale,
                                       .tile_rows = tokens_per_tile,
                                       .first_position = 0,
                                       .window = 0,
                                       .sinks = 0};
    device_.check(tensor_cores_ ? kernels_of_device::attend_tensor(device_.stream(), op)
                                : kernels_of_device::attend_many(device_.stream(), op),
                  "attend_tile");
  });
}

std::int64_t CudaBackend::most_shares(const LayerPages& pages, const Heads& heads) const {
  // Enough blocks for four times the processors, and no more than a sequence can have positions for.
  const std::int64_t positions = pages.sequence_pages * pages.page_tokens;
  const std::int64_t seen = heads.window > 0 ? std::min(positions, heads.window + heads.sinks) : positions;
  const std::int64_t wanted = ceil_div(4 * device_.n_processors(), heads.n_kv_heads);
  return std::clamp<std::int64_t>(ceil_div(seen, kernels_of_device::split_positions), 1,
                                  std::max<std::int64_t>(1, wanted));
}

void CudaBackend::attend_pages(Execution& exec, const Matrix& q, const StepRows& rows,
                               const LayerPages& pages, const Heads& heads, const Matrix& out) {
  check_head_size(heads);
  const std::span<const SequenceRows> sequences = rows.sequences;
  const std::int32_t* table = device_rows(rows, 0).pages;
  for (std::size_t first = 0, end = 0; first < sequences.size(); first = end) {
    end = first + 1;
    if (sequences[first].n_rows == 1) {
      while (end < sequences.size() && sequences[end].n_rows == 1) ++end;
      attend_singles(exec, q, rows.of(first, end - first), pages, heads, out);
    } else {
      attend_sequence(exec, q, rows.of(first, 1), table, pages, heads, out);
    }
    for (std::size_t i = first; i < end; ++i) table += table_pages(sequences[i], pages);
  }
}

void CudaBackend::attend_singles(Execution& exec, const Matrix& q, const StepRows& rows,
                                 const LayerPages& pages, const Heads& heads, const Matrix& out) {
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const std::int64_t n_shares = most_shares(pages, heads);
  float* const partials = exec.arena.array<float>(
      RegionId::activations,
      kernels_of_device::decode_partial_floats(rows.n_rows(), heads.n_heads, heads.head_size, n_shares));
  exec.queue.submit(Op::attend_pages, costs::attend_pages(q, rows.sequences, pages, heads), [&] {
    const DeviceRows on_device = device_rows(rows, rows.first_row());
    device_.check(
        kernels_of_device::attend_few(device_.stream(), paged_op(q, rows, on_device.pages, pages, heads, out),
                                      on_device.places, n_shares, partials),
        "attend_pages");
  });
}

void CudaBackend::attend_sequence(Execution& exec, const Matrix& q, const StepRows& rows,
                                  const std::int32_t* table, const LayerPages& pages, const Heads& heads,
                                  const Matrix& out) {
  exec.queue.submit(Op::attend_pages, costs::attend_pages(q, rows.sequences, pages, heads), [&] {
    const kernels_of_device::Attend op = paged_op(q, rows, table, pages, heads, out);
    // Who keeps keys and values in FP32 wants them so.
    const bool narrow =
        tensor_cores_ && (pages.format.is_grouped() || op.paged.element == kernels::Element::f16);
    device_.check(narrow ? kernels_of_device::attend_tensor(device_.stream(), op)
                         : kernels_of_device::attend_many(device_.stream(), op),
                  "attend_pages");
  });
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
