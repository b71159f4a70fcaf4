// Attention within tiles and over KV pages, and what goes into the pages.
#include <cmath>

#include "backend/cpu/cpu_backend_class.h"
#include "tensor/grouped.h"

namespace galago::backend {
namespace {

/// Query rows of one piece of attention work, each with `group` heads.
std::int64_t rows_of_work(std::int64_t n_rows, std::int64_t group) {
  return std::min(n_rows, std::max<std::int64_t>(1, kernels::max_queries / group));
}

/// The sum over rows: the query at position p sees p + 1 positions, or as many as the window has.
double positions_seen(const SequenceRows& rows, std::int64_t window) {
  const auto sum_to = [](std::int64_t n) { return static_cast<double>(n) * static_cast<double>(n + 1) / 2; };
  const std::int64_t end = rows.first_position + rows.n_rows;
  if (window == 0 || end <= window) return sum_to(end) - sum_to(rows.first_position);
  const std::int64_t growing_end = std::max(window, rows.first_position);
  return sum_to(growing_end) - sum_to(rows.first_position) +
         static_cast<double>(end - growing_end) * static_cast<double>(window);
}

Cost attend_cost(const Matrix& q, std::span<const SequenceRows> sequences, const LayerPages& pages,
                 const Heads& heads) {
  Cost cost{0, bytes_of(q), bytes_of(q)};
  for (const SequenceRows& rows : sequences) {
    const double seen = positions_seen(rows, heads.window);
    cost.flops += 4.0 * seen * static_cast<double>(heads.n_heads * heads.head_size);
    const std::int64_t last = rows.first_position + rows.n_rows;
    const std::int64_t positions = heads.window == 0 ? last : std::min(last, heads.window + rows.n_rows - 1);
    cost.bytes_read += 2 * static_cast<Bytes>(positions * heads.n_kv_heads) * pages.row_bytes(heads);
  }
  return cost;
}

}  // namespace

void CpuBackend::append_kv(Execution& exec, const Matrix& k, const Matrix& v,
                           std::span<const SequenceRows> sequences, const Heads& heads,
                           const LayerPages& pages) {
  const Bytes stored = 2 * static_cast<Bytes>(k.rows * heads.n_kv_heads) * pages.row_bytes(heads);
  exec.queue.submit(Op::append_kv, {0, bytes_of(k) + bytes_of(v), stored}, [&] {
    for (const SequenceRows& rows : sequences) {
      for_rows(rows.n_rows, [&](std::int64_t first, std::int64_t count) {
        for (std::int64_t i = first; i < first + count; ++i) store_token(k, v, rows, i, heads, pages);
      });
    }
  });
}

void CpuBackend::store_token(const Matrix& k, const Matrix& v, const SequenceRows& rows, std::int64_t i,
                             const Heads& heads, const LayerPages& pages) const {
  const std::int64_t position = rows.first_position + i;
  const PageId page = rows.pages[static_cast<std::size_t>(position / pages.page_tokens)];
  std::byte* keys = pages.base + static_cast<Bytes>(page) * pages.page_stride;
  std::byte* values = keys + pages.half_bytes(heads);
  for (std::int64_t head = 0; head < heads.n_kv_heads; ++head) {
    const Bytes at =
        static_cast<Bytes>(head * pages.page_tokens + position % pages.page_tokens) * pages.row_bytes(heads);
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

void CpuBackend::attend_tile(Execution& exec, const Matrix& q, const Matrix& k, const Matrix& v,
                             std::int64_t tokens_per_tile, const Heads& heads, const Matrix& out) {
  const double pairs = static_cast<double>(q.rows * tokens_per_tile);
  const Cost cost{4.0 * pairs * static_cast<double>(heads.n_heads * heads.head_size),
                  bytes_of(q) + bytes_of(k) + bytes_of(v), bytes_of(out)};
  const std::int64_t query_rows = rows_of_work(tokens_per_tile, 1);
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  const std::int64_t n_scratch = kernels::attention_scratch_floats(query_rows, heads.head_size, false);
  float* scratch = exec.arena.array<float>(memory::RegionId::activations, pool_.n_threads() * n_scratch);
  exec.queue.submit(Op::attend_tile, cost, [&] {
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
                          .page_stride = 0},
                         scratch + thread * n_scratch);
    });
  });
}

void CpuBackend::attend_pages(Execution& exec, const Matrix& q, std::span<const SequenceRows> sequences,
                              const LayerPages& pages, const Heads& heads, const Matrix& out) {
  const std::int64_t group = heads.n_heads / heads.n_kv_heads;
  std::int64_t n_scratch = 0;
  for (const SequenceRows& rows : sequences) {
    n_scratch =
        std::max(n_scratch, kernels::attention_scratch_floats(group * rows_of_work(rows.n_rows, group),
                                                              heads.head_size, pages.format.is_grouped()));
  }
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  float* scratch = exec.arena.array<float>(memory::RegionId::activations, pool_.n_threads() * n_scratch);
  exec.queue.submit(Op::attend_pages, attend_cost(q, sequences, pages, heads), [&] {
    for (const SequenceRows& rows : sequences) {
      const std::int64_t query_rows = rows_of_work(rows.n_rows, group);
      const std::int64_t n_blocks = ceil_div(rows.n_rows, query_rows);
      pool_.parallel_for(heads.n_kv_heads * n_blocks, [&](std::int64_t item, int thread) {
        const std::int64_t first = item % n_blocks * query_rows;
        const SequenceRows part{rows.first_row + first, std::min(query_rows, rows.n_rows - first),
                                rows.first_position + first, rows.pages};
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
       .first_limit = rows.first_position + 1,
       .limit_step = 1,
       .blocks = {keys, keys + pages.half_bytes(heads), heads.head_size, element_of(pages.format.dtype()),
                  pages.page_tokens, pages.format.is_grouped() ? &grouped : nullptr},
       .pages = rows.pages.data(),
       .page_stride = static_cast<std::int64_t>(pages.page_stride),
       .window = heads.window},
      scratch);
}

}  // namespace galago::backend
