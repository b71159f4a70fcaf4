// Attention within tiles and over KV pages, and what goes into the pages.
#include <cmath>

#include "backend/cpu/cpu_backend_class.h"
#include "tensor/grouped.h"

namespace galago::backend {
namespace {

/// Query rows of one piece of attention work at most, each with `group` heads.
std::int64_t most_rows(std::int64_t n_rows, std::int64_t group, bool bf16) {
  return std::min(n_rows, std::max<std::int64_t>(1, kernels::max_queries(bf16) / group));
}

/// Query rows of one piece, so that all are of about one size; 1 where there are none.
std::int64_t rows_of_work(std::int64_t n_rows, std::int64_t group, bool bf16) {
  return n_rows == 0 ? 1 : ceil_div(n_rows, ceil_div(n_rows, most_rows(n_rows, group, bf16)));
}

}  // namespace

void CpuBackend::append_kv(Execution& exec, const Matrix& k, const Matrix& v, const StepRows& step,
                           const Heads& heads, const LayerPages& pages) {
  exec.queue.submit(Op::append_kv, costs::append_kv(k, v, heads, pages), [&] {
    for (const SequenceRows& rows : step.sequences) {
      for_rows(rows.n_rows, [&](std::int64_t first, std::int64_t count) {
        for (std::int64_t i = first; i < first + count; ++i) store_token(k, v, rows, i, heads, pages);
      });
    }
  });
}

void CpuBackend::store_token(const Matrix& k, const Matrix& v, const SequenceRows& rows, std::int64_t i,
                             const Heads& heads, const LayerPages& pages) const {
  const std::int64_t place = rows.first_place() + i;
  const PageId page = rows.pages[static_cast<std::size_t>(place / pages.page_tokens)];
  std::byte* keys = pages.base + static_cast<Bytes>(page) * pages.page_stride;
  std::byte* values = keys + pages.half_bytes(heads);
  for (std::int64_t head = 0; head < heads.n_kv_heads; ++head) {
    const Bytes at =
        static_cast<Bytes>(head * pages.page_tokens + place % pages.page_tokens) * pages.row_bytes(heads);
    const std::int64_t column = head * heads.head_size;
    store_row(k.row(rows.first_row + i) + column, heads.head_size, pages.format, keys + at);
    store_row(v.row(rows.first_row + i) + column, heads.head_size, pages.format, values + at);
  }
}

void CpuBackend::store_row(const float* from, std::int64_t n, const WeightFormat& format,
                           std::byte* to) const {
  if (!format.is_grouped()) return kernels_.narrow(from, to, element_of(format.dtype()), n);
  const Grouped& grouped = format.grouped();
  const std::span<std::byte> record{to, format.row_bytes(n)};
  if (encode_row(grouped, {from, static_cast<std::size_t>(n)}, record)) return;
  // What is not finite stays so, as it does in FP16: a broken model must not look like a working one.
  GroupedRow row(grouped, n, record);
  for (std::int64_t group = 0; group < layout_of(grouped, n).n_groups; ++group) row.put_scale(group, NAN);
}

bool CpuBackend::attends_in_bf16() const {
  return products_ != Products::exact && kernels_.multiplies_bf16;
}

bool CpuBackend::attends_in_bf16(const LayerPages& pages) const {
  return attends_in_bf16() && (pages.format.is_grouped() || pages.format.dtype() != DType::f32);
}

void CpuBackend::attend_tile(Execution& exec, const Matrix& q, const Matrix& k, const Matrix& v,
                             std::int64_t tokens_per_tile, const Heads& heads, const Matrix& out) {
  const bool bf16 = attends_in_bf16();
  const std::int64_t query_rows = rows_of_work(tokens_per_tile, 1, bf16);
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  const std::int64_t n_scratch = kernels::attention_scratch_floats(query_rows, heads.head_size, false, bf16);
  float* scratch = exec.arena.array<float>(memory::RegionId::activations, pool_.n_threads() * n_scratch);
  exec.queue.submit(Op::attend_tile, costs::attend_tile(q, tokens_per_tile, heads, k), [&] {
    const std::int64_t n_tiles = q.rows / tokens_per_tile;
    const std::int64_t n_blocks = ceil_div(tokens_per_tile, query_rows);
    pool_.parallel_for(n_tiles * heads.n_heads * n_blocks, [&](std::int64_t item, int thread) {
      const std::int64_t tile = item / (heads.n_heads * n_blocks);
      const std::int64_t head = item / n_blocks % heads.n_heads;
      const std::int64_t first = item % n_blocks * query_rows;
      const std::int64_t column = head * heads.head_size;
      const std::int64_t row = tile * tokens_per_tile;
      kernels_.attention({.q = q.row(row) + column,
                          .q_stride = q.stride,
                          .out = out.row(row) + column,
                          .out_stride = out.stride,
                          .first_row = first,
                          .n_rows = std::min(query_rows, tokens_per_tile - first),
                          .group = 1,
                          .head_size = heads.head_size,
                          .scale = heads.scale,
                          .first_limit = tokens_per_tile,
                          .limit_step = 0,
                          .blocks = {k.row(row) + column, v.row(row) + column, k.stride,
                                     kernels::Element::f32, kernels::max_block_keys},
                          .pages = nullptr,
                          .page_stride = 0,
                          .bf16 = bf16},
                         scratch + thread * n_scratch);
    });
  });
}

void CpuBackend::attend_pages(Execution& exec, const Matrix& q, const StepRows& step, const LayerPages& pages,
                              const Heads& heads, const Matrix& out) {
  const std::span<const SequenceRows> sequences = step.sequences;
  const std::int64_t group = heads.n_heads / heads.n_kv_heads;
  const bool bf16 = attends_in_bf16(pages);
  std::int64_t n_scratch = 0;
  for (const SequenceRows& rows : sequences) {
    // Fewer rows may come in larger pieces, so what a plan holds for many must be enough for the largest.
    const std::int64_t n_queries = group * most_rows(rows.n_rows, group, bf16);
    n_scratch = std::max(n_scratch, kernels::attention_scratch_floats(n_queries, heads.head_size,
                                                                      pages.format.is_grouped(), bf16));
  }
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  float* scratch = exec.arena.array<float>(memory::RegionId::activations, pool_.n_threads() * n_scratch);
  exec.queue.submit(Op::attend_pages, costs::attend_pages(q, sequences, pages, heads), [&] {
    for (const SequenceRows& rows : sequences) {
      const std::int64_t query_rows = rows_of_work(rows.n_rows, group, bf16);
      const std::int64_t n_blocks = ceil_div(rows.n_rows, query_rows);
      pool_.parallel_for(heads.n_kv_heads * n_blocks, [&](std::int64_t item, int thread) {
        const std::int64_t first = item % n_blocks * query_rows;
        SequenceRows part = rows;
        part.first_row += first;
        part.first_position += first;
        part.n_rows = std::min(query_rows, rows.n_rows - first);
        attend_rows(q, part, pages, heads, item / n_blocks, out, scratch + thread * n_scratch);
      });
    }
  });
}

void CpuBackend::attend_rows(const Matrix& q, const SequenceRows& rows, const LayerPages& pages,
                             const Heads& heads, std::int64_t kv_head, const Matrix& out,
                             float* scratch) const {
  const std::int64_t group = heads.n_heads / heads.n_kv_heads;
  const std::int64_t column = kv_head * group * heads.head_size;
  const Bytes head_bytes = static_cast<Bytes>(pages.page_tokens) * pages.row_bytes(heads);
  const std::byte* keys = pages.base + static_cast<Bytes>(kv_head) * head_bytes;
  kernels::GroupedRows grouped{};
  if (pages.format.is_grouped()) grouped = rows_of(pages.format.grouped(), heads.head_size);
  kernels_.attention(
      {.q = q.row(rows.first_row) + column,
       .q_stride = q.stride,
       .out = out.row(rows.first_row) + column,
       .out_stride = out.stride,
       .first_row = 0,
       .n_rows = rows.n_rows,
       .group = group,
       .head_size = heads.head_size,
       .scale = heads.scale,
       .first_limit = rows.first_place() + 1,
       .limit_step = 1,
       .blocks = {keys, keys + pages.half_bytes(heads), heads.head_size, element_of(pages.format.dtype()),
                  pages.page_tokens, pages.format.is_grouped() ? &grouped : nullptr},
       .pages = rows.pages.data(),
       .page_stride = static_cast<std::int64_t>(pages.page_stride),
       .window = heads.window,
       .sinks = heads.sinks,
       .bf16 = attends_in_bf16(pages)},
      scratch);
}

}  // namespace galago::backend
