// What becomes the first hidden states. Pixels come from the host.
#include <cmath>

#include "backend/cuda/cuda_backend_class.h"
#include "backend/cuda/step_rows.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

using memory::RegionId;

void CudaBackend::unfold_patches(Execution& exec, const float* pixels, const PatchGrid& grid,
                                 const Matrix& y) {
  const std::int64_t n_values = grid.n_tiles * grid.channels * grid.image_size * grid.image_size;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  float* const on_device = exec.arena.array<float>(RegionId::activations, n_values);
  exec.queue.submit(Op::unfold_patches, costs::move(y, y), [&] {
    device_.upload(reinterpret_cast<std::byte*>(on_device),
                   std::as_bytes(std::span(pixels, static_cast<std::size_t>(n_values))));
    device_.check(kernels_of_device::unfold_patches(
                      device_.stream(),
                      {on_device, grid.n_tiles, grid.channels, grid.image_size, grid.patch_size}, rows_of(y)),
                  "unfold_patches");
  });
}

void CudaBackend::tower_embed(Execution& exec, const Matrix& patches, const Weight& class_embedding,
                              const Weight& positions, const Matrix& y) {
  const Cost cost = costs::tower_embed(patches, class_embedding, positions, y);
  exec.queue.submit(Op::tower_embed, cost, [&] {
    device_.check(kernels_of_device::tower_embed(device_.stream(), rows_of(patches), floats(class_embedding),
                                                 floats(positions), positions.rows(), rows_of(y)),
                  "tower_embed");
  });
}

void CudaBackend::pixel_shuffle(Execution& exec, const Matrix& patches, std::int64_t factor,
                                const Matrix& y) {
  exec.queue.submit(Op::pixel_shuffle, costs::move(patches, y), [&] {
    const std::int64_t squares = std::llround(std::sqrt(static_cast<double>(y.rows)));  // a side
    device_.check(
        kernels_of_device::pixel_shuffle(device_.stream(), rows_of(patches), factor, squares, rows_of(y)),
        "pixel_shuffle");
  });
}

void CudaBackend::token_embed(Execution& exec, const StepRows& rows, const Weight& table,
                              const Matrix& image_embeddings, const Matrix& y) {
  exec.queue.submit(Op::token_embed, costs::move(y, y), [&] {
    kernels::GroupedRows grouped{};
    const bool is_grouped = table.format.is_grouped();
    if (is_grouped) grouped = backend::rows_of(table.format.grouped(), table.cols());
    device_.check(kernels_of_device::token_embed(
                      device_.stream(), device_rows(rows, 0).ids,
                      {table.data, element_of(table.format.dtype()), is_grouped ? &grouped : nullptr},
                      rows_of(image_embeddings), rows_of(y)),
                  "token_embed");
  });
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
