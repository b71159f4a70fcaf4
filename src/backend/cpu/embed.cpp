// What becomes the first hidden states: patches, class and position embeddings, tokens.
#include <cmath>

#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {
namespace {

const std::byte* row_of(const Weight& table, std::int64_t row) {
  return static_cast<const std::byte*>(table.data) +
         static_cast<Bytes>(row) * table.format.row_bytes(table.cols());
}

/// One row of patches of one tile.
void unfold_patch_row(const float* pixels, const PatchGrid& grid, std::int64_t tile, std::int64_t patch_row,
                      const Matrix& y) {
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

}  // namespace

void CpuBackend::unfold_patches(Execution& exec, const float* pixels, const PatchGrid& grid,
                                const Matrix& y) {
  exec.queue.submit(Op::unfold_patches, costs::move(y, y), [&] {
    pool_.parallel_for(grid.n_tiles * grid.side(), [&](std::int64_t item, int) {
      unfold_patch_row(pixels, grid, item / grid.side(), item % grid.side(), y);
    });
  });
}

void CpuBackend::tower_embed(Execution& exec, const Matrix& patches, const Weight& class_embedding,
                             const Weight& positions, const Matrix& y) {
  const Cost cost = costs::tower_embed(patches, class_embedding, positions, y);
  exec.queue.submit(Op::tower_embed, cost, [&] {
    const std::int64_t tokens = positions.rows();
    for (std::int64_t row = 0; row < y.rows; ++row) {
      const std::int64_t tile = row / tokens;
      const std::int64_t token = row % tokens;
      const float* from = token == 0 ? floats(class_embedding) : patches.row(tile * (tokens - 1) + token - 1);
      kernels_.add(from, floats(positions) + token * y.cols, y.row(row), y.cols);
    }
  });
}

void CpuBackend::embed_row(const Weight& table, std::int64_t row, float* to) const {
  if (table.format.is_grouped()) {
    kernels_.decode(rows_of(table.format.grouped(), table.cols()), row_of(table, row), to, table.cols());
  } else {
    kernels_.widen(row_of(table, row), element_of(table.format.dtype()), to, table.cols());
  }
}

void CpuBackend::pixel_shuffle(Execution& exec, const Matrix& patches, std::int64_t factor, const Matrix& y) {
  exec.queue.submit(Op::pixel_shuffle, costs::move(patches, y), [&] {
    const std::int64_t squares = std::llround(std::sqrt(static_cast<double>(y.rows)));  // a side
    pool_.parallel_for(y.rows, [&](std::int64_t token, int) {
      const std::int64_t line = token / squares * factor;
      const std::int64_t column = token % squares * factor;
      for (std::int64_t i = 0; i < factor * factor; ++i) {
        const float* from = patches.row((line + i / factor) * squares * factor + column + i % factor);
        std::copy(from, from + patches.cols, y.row(token) + i * patches.cols);
      }
    });
  });
}

void CpuBackend::token_embed(Execution& exec, const StepRows& rows, const Weight& table,
                             const Matrix& image_embeddings, const Matrix& y) {
  const std::span<const std::int32_t> ids = rows.ids;
  exec.queue.submit(Op::token_embed, costs::move(y, y), [&] {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      float* to = y.row(static_cast<std::int64_t>(i));
      if (ids[i] < 0) {
        kernels_.widen(image_embeddings.row(-1 - ids[i]), kernels::Element::f32, to, y.cols);
      } else {
        embed_row(table, ids[i], to);
      }
    }
  });
}

}  // namespace galago::backend
