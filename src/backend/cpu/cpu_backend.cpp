#include "backend/cpu/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backend/cpu/kernel_choice.h"
#include "base/cpu_features.h"
#include "base/thread_pool.h"

namespace galago::backend {
namespace {

using memory::RegionId;
using memory::Scope;

kernels::Element element_of(DType dtype) {
  return dtype == DType::f16    ? kernels::Element::f16
         : dtype == DType::bf16 ? kernels::Element::bf16
                                : kernels::Element::f32;
}

kernels::Activation activation_of(Activation activation) {
  switch (activation) {
    case Activation::none:
      return kernels::Activation::none;
    case Activation::gelu:
      return kernels::Activation::gelu;
    case Activation::quick_gelu:
      return kernels::Activation::quick_gelu;
    case Activation::silu:
      return kernels::Activation::silu;
  }
  return kernels::Activation::none;
}

const float* floats(const Weight& weight) {
  return static_cast<const float*>(weight.data);
}

const std::byte* row_of(const Weight& table, std::int64_t row) {
  return static_cast<const std::byte*>(table.data) +
         static_cast<Bytes>(row * table.cols()) * size_of(table.dtype);
}

Bytes bytes_of(const Matrix& matrix) {
  return static_cast<Bytes>(matrix.rows * matrix.cols) * sizeof(float);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Rows of a loop over rows that one thread takes at once.
constexpr std::int64_t row_grain = 16;

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int n_threads)
      : kernels_(choose_kernels()), pool_(n_threads > 0 ? n_threads : usable_cores()) {}

  std::string name() const override { return "cpu"; }
  std::string description() const override {
    return fmt::format("{}, {} thread{}", kernels_.name, pool_.n_threads(),
                       pool_.n_threads() == 1 ? "" : "s");
  }

  void linear(Execution& exec, const Matrix& x, const Weight& w, const Epilogue& epilogue,
              const Matrix& y) override {
    Cost cost{2.0 * static_cast<double>(x.rows * x.cols * y.cols), bytes_of(x) + w.bytes(), bytes_of(y)};
    if (epilogue.residual.rows > 0) cost.bytes_read += bytes_of(epilogue.residual);
    const kernels::Linear op{.x = x.data,
                             .x_stride = x.stride,
                             .w = w.data,
                             .up = nullptr,
                             .element = element_of(w.dtype),
                             .m = x.rows,
                             .n = y.cols,
                             .k = x.cols,
                             .bias = floats(epilogue.bias),
                             .activation = activation_of(epilogue.activation),
                             .residual = epilogue.residual.rows > 0 ? epilogue.residual.data : nullptr,
                             .residual_stride = epilogue.residual.stride,
                             .y = y.data,
                             .y_stride = y.stride};
    submit_linear(exec, Op::linear, cost, op);
  }

  void gated_linear(Execution& exec, const Matrix& x, const Weight& gate_up, Activation activation,
                    const Matrix& y) override {
    const Cost cost{4.0 * static_cast<double>(x.rows * x.cols * y.cols), bytes_of(x) + gate_up.bytes(),
                    bytes_of(y)};
    const std::byte* gate = static_cast<const std::byte*>(gate_up.data);
    const kernels::Linear op{.x = x.data,
                             .x_stride = x.stride,
                             .w = gate,
                             .up = gate == nullptr ? nullptr : gate + gate_up.bytes() / 2,
                             .element = element_of(gate_up.dtype),
                             .m = x.rows,
                             .n = y.cols,
                             .k = x.cols,
                             .bias = nullptr,
                             .activation = activation_of(activation),
                             .residual = nullptr,
                             .residual_stride = 0,
                             .y = y.data,
                             .y_stride = y.stride};
    submit_linear(exec, Op::gated_linear, cost, op);
  }

  void layer_norm(Execution& exec, const Matrix& x, const Weight& weight, const Weight& bias, float epsilon,
                  const Matrix& y) override {
    const kernels::Norm op{x.data, x.stride, floats(weight), floats(bias), epsilon, x.cols, y.data, y.stride};
    const Cost cost{8.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + weight.bytes() + bias.bytes(),
                    bytes_of(y)};
    exec.queue.submit(Op::layer_norm, cost, [&] {
      for_rows(x.rows,
               [&](std::int64_t first, std::int64_t count) { kernels_.layer_norm(op, first, count); });
    });
  }

  void rms_norm(Execution& exec, const Matrix& x, const Weight& weight, float epsilon,
                const Matrix& y) override {
    const kernels::Norm op{x.data, x.stride, floats(weight), nullptr, epsilon, x.cols, y.data, y.stride};
    const Cost cost{4.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + weight.bytes(), bytes_of(y)};
    exec.queue.submit(Op::rms_norm, cost, [&] {
      for_rows(x.rows, [&](std::int64_t first, std::int64_t count) { kernels_.rms_norm(op, first, count); });
    });
  }

  void unfold_patches(Execution& exec, const float* pixels, const PatchGrid& grid, const Matrix& y) override {
    const Cost cost{0, bytes_of(y), bytes_of(y)};
    exec.queue.submit(Op::unfold_patches, cost, [&] {
      pool_.parallel_for(grid.n_tiles * grid.side(), [&](std::int64_t item, int) {
        unfold_patch_row(pixels, grid, item / grid.side(), item % grid.side(), y);
      });
    });
  }

  void tower_embed(Execution& exec, const Matrix& patches, const Weight& class_embedding,
                   const Weight& positions, const Matrix& y) override {
    const Cost cost{static_cast<double>(y.rows * y.cols),
                    bytes_of(patches) + class_embedding.bytes() + positions.bytes(), bytes_of(y)};
    exec.queue.submit(Op::tower_embed, cost, [&] {
      const std::int64_t tokens = positions.rows();
      for (std::int64_t row = 0; row < y.rows; ++row) {
        const std::int64_t tile = row / tokens;
        const std::int64_t token = row % tokens;
        const float* from =
            token == 0 ? floats(class_embedding) : patches.row(tile * (tokens - 1) + token - 1);
        kernels_.add(from, floats(positions) + token * y.cols, y.row(row), y.cols);
      }
    });
  }

  void token_embed(Execution& exec, std::span<const std::int32_t> ids, const Weight& table,
                   const Matrix& image_embeddings, const Matrix& y) override {
    const Cost cost{0, bytes_of(y), bytes_of(y)};
    exec.queue.submit(Op::token_embed, cost, [&] {
      for (std::size_t i = 0; i < ids.size(); ++i) {
        float* to = y.row(static_cast<std::int64_t>(i));
        if (ids[i] < 0) {
          kernels_.widen(image_embeddings.row(-1 - ids[i]), kernels::Element::f32, to, y.cols);
        } else {
          kernels_.widen(row_of(table, ids[i]), element_of(table.dtype), to, y.cols);
        }
      }
    });
  }

  void rope_table(Execution& exec, std::span<const SequenceRows> sequences, const Weight& inverse_frequencies,
                  float scale, const Matrix& table) override {
    const Cost cost{20.0 * static_cast<double>(table.rows * table.cols), inverse_frequencies.bytes(),
                    bytes_of(table)};
    exec.queue.submit(Op::rope, cost, [&] {
      const std::int64_t half = table.cols / 2;
      const float* frequencies = floats(inverse_frequencies);
      for (const SequenceRows& rows : sequences) {
        for (std::int64_t i = 0; i < rows.n_rows; ++i) {
          float* to = table.row(rows.first_row + i);
          const auto position = static_cast<float>(rows.first_position + i);
          for (std::int64_t j = 0; j < half; ++j) {
            to[j] = std::cos(position * frequencies[j]) * scale;
            to[half + j] = std::sin(position * frequencies[j]) * scale;
          }
        }
      }
    });
  }

  void rope(Execution& exec, const Matrix& x, const Matrix& table) override {
    const Cost cost{3.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + bytes_of(table), bytes_of(x)};
    exec.queue.submit(Op::rope, cost, [&] {
      for_rows(x.rows, [&](std::int64_t first, std::int64_t count) {
        for (std::int64_t row = first; row < first + count; ++row) {
          for (std::int64_t head = 0; head < x.cols; head += table.cols) {
            kernels_.rope_head(x.row(row) + head, table.row(row), table.cols);
          }
        }
      });
    });
  }

  void append_kv(Execution& exec, const Matrix& k, const Matrix& v, std::span<const SequenceRows> sequences,
                 const Heads& heads, const LayerPages& pages) override {
    const Bytes stored = static_cast<Bytes>(k.rows * k.cols) * size_of(pages.dtype);
    exec.queue.submit(Op::append_kv, {0, bytes_of(k) + bytes_of(v), 2 * stored}, [&] {
      for (const SequenceRows& rows : sequences) {
        for (std::int64_t i = 0; i < rows.n_rows; ++i) store_token(k, v, rows, i, heads, pages);
      }
    });
  }

  void attend_tile(Execution& exec, const Matrix& q, const Matrix& k, const Matrix& v,
                   std::int64_t tokens_per_tile, const Heads& heads, const Matrix& out) override {
    const double pairs = static_cast<double>(q.rows * tokens_per_tile);
    const Cost cost{4.0 * pairs * static_cast<double>(heads.n_heads * heads.head_size),
                    bytes_of(q) + bytes_of(k) + bytes_of(v), bytes_of(out)};
    exec.queue.submit(Op::attend_tile, cost, [&] {
      const std::int64_t n_tiles = q.rows / tokens_per_tile;
      const std::int64_t n_blocks = ceil_div(tokens_per_tile, query_rows);
      pool_.parallel_for(n_tiles * heads.n_heads * n_blocks, [&](std::int64_t item, int) {
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
                            .page_stride = 0});
      });
    });
  }

  void attend_pages(Execution& exec, const Matrix& q, std::span<const SequenceRows> sequences,
                    const LayerPages& pages, const Heads& heads, const Matrix& out) override {
    exec.queue.submit(Op::attend_pages, attend_cost(q, sequences, pages, heads), [&] {
      for (const SequenceRows& rows : sequences) {
        const std::int64_t n_blocks = ceil_div(rows.n_rows, query_rows);
        pool_.parallel_for(heads.n_kv_heads * n_blocks, [&](std::int64_t item, int) {
          attend_rows(q, rows, pages, heads, item / n_blocks, item % n_blocks * query_rows, out);
        });
      }
    });
  }

 private:
  /// Query rows of one piece of attention work.
  static constexpr std::int64_t query_rows = 16;

  void submit_linear(Execution& exec, Op kind, const Cost& cost, const kernels::Linear& op) {
    const Scope scope(exec.arena.region(RegionId::activations));
    float* scratch =
        exec.arena.array<float>(RegionId::activations, pool_.n_threads() * kernels::linear_scratch_floats);
    exec.queue.submit(kind, cost, [&] {
      const std::int64_t grain = column_grain(op.n);
      pool_.parallel_for(ceil_div(op.n, grain), [&](std::int64_t item, int thread) {
        const std::int64_t first = item * grain;
        kernels_.linear(op, first, std::min(grain, op.n - first),
                        scratch + thread * kernels::linear_scratch_floats);
      });
    });
  }

  /// Columns of one piece of work: several pieces a thread, so that a slow one does not hold up all.
  std::int64_t column_grain(std::int64_t n) const {
    const std::int64_t pieces = 4 * pool_.n_threads();
    return std::max<std::int64_t>(1, ceil_div(ceil_div(n, pieces), kernels::linear_column_grain)) *
           kernels::linear_column_grain;
  }

  template <class Body>
  void for_rows(std::int64_t n_rows, Body&& body) {
    pool_.parallel_for(ceil_div(n_rows, row_grain), [&](std::int64_t item, int) {
      const std::int64_t first = item * row_grain;
      body(first, std::min(row_grain, n_rows - first));
    });
  }

  /// One row of patches of one tile.
  static void unfold_patch_row(const float* pixels, const PatchGrid& grid, std::int64_t tile,
                               std::int64_t patch_row, const Matrix& y) {
    const std::int64_t size = grid.patch_size;
    for (std::int64_t patch = 0; patch < grid.side(); ++patch) {
      float* to = y.row(tile * grid.per_tile() + patch_row * grid.side() + patch);
      for (std::int64_t channel = 0; channel < grid.channels; ++channel) {
        for (std::int64_t line = 0; line < size; ++line) {
          const std::int64_t pixel_row =
              (tile * grid.channels + channel) * grid.image_size + patch_row * size + line;
          const float* from = pixels + pixel_row * grid.image_size + patch * size;
          to = std::copy(from, from + size, to);
        }
      }
    }
  }

  void store_token(const Matrix& k, const Matrix& v, const SequenceRows& rows, std::int64_t i,
                   const Heads& heads, const LayerPages& pages) const {
    const std::int64_t position = rows.first_position + i;
    const PageId page = rows.pages[static_cast<std::size_t>(position / pages.page_tokens)];
    const std::int64_t half = heads.n_kv_heads * pages.page_tokens * heads.head_size;
    std::byte* base = pages.base + static_cast<Bytes>(page) * pages.page_stride;
    const kernels::Element element = element_of(pages.dtype);
    for (std::int64_t head = 0; head < heads.n_kv_heads; ++head) {
      const std::int64_t at = (head * pages.page_tokens + position % pages.page_tokens) * heads.head_size;
      const std::int64_t column = head * heads.head_size;
      kernels_.narrow(k.row(rows.first_row + i) + column,
                      base + static_cast<Bytes>(at) * size_of(pages.dtype), element, heads.head_size);
      kernels_.narrow(v.row(rows.first_row + i) + column,
                      base + static_cast<Bytes>(half + at) * size_of(pages.dtype), element, heads.head_size);
    }
  }

  static Cost attend_cost(const Matrix& q, std::span<const SequenceRows> sequences, const LayerPages& pages,
                          const Heads& heads) {
    Cost cost{0, bytes_of(q), bytes_of(q)};
    for (const SequenceRows& rows : sequences) {
      const double seen =
          static_cast<double>(rows.first_position) + (static_cast<double>(rows.n_rows) + 1) / 2;
      cost.flops += 4.0 * static_cast<double>(rows.n_rows) * seen *
                    static_cast<double>(heads.n_heads * heads.head_size);
      const std::int64_t positions = rows.first_position + rows.n_rows;
      cost.bytes_read +=
          2 * static_cast<Bytes>(positions * heads.n_kv_heads * heads.head_size) * size_of(pages.dtype);
    }
    return cost;
  }

  /// Rows [first, first + query_rows) of a sequence, for all query heads of one key-value head.
  void attend_rows(const Matrix& q, const SequenceRows& rows, const LayerPages& pages, const Heads& heads,
                   std::int64_t kv_head, std::int64_t first, const Matrix& out) const {
    const std::int64_t group = heads.n_heads / heads.n_kv_heads;
    const std::int64_t column = kv_head * group * heads.head_size;
    const Bytes head_bytes = static_cast<Bytes>(pages.page_tokens * heads.head_size) * size_of(pages.dtype);
    const std::byte* keys = pages.base + static_cast<Bytes>(kv_head) * head_bytes;
    kernels_.attention({.q = q.row(rows.first_row) + column,
                        .q_stride = q.stride,
                        .out = out.row(rows.first_row) + column,
                        .out_stride = out.stride,
                        .first_row = first,
                        .n_rows = std::min(query_rows, rows.n_rows - first),
                        .group = group,
                        .head_size = heads.head_size,
                        .scale = heads.scale,
                        .first_limit = rows.first_position + 1,
                        .limit_step = 1,
                        .blocks = {keys, keys + static_cast<Bytes>(heads.n_kv_heads) * head_bytes,
                                   heads.head_size, element_of(pages.dtype), pages.page_tokens},
                        .pages = rows.pages.data(),
                        .page_stride = static_cast<std::int64_t>(pages.page_stride)});
  }

  const kernels::KernelTable& kernels_;
  ThreadPool pool_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int n_threads) {
  return std::make_unique<CpuBackend>(n_threads);
}

}  // namespace galago::backend
