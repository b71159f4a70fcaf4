// What becomes the first hidden states: patches, class and position embeddings, tokens; and shuffled patches.
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/grouped.cuh"
#include "kernels/cuda/kernels.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

struct Unfold {
  Patches patches;
  Rows y;
};

__global__ void unfold_kernel(const Unfold op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Patches& p = op.patches;
  const Global<const float> pixels(p.pixels);
  const Global<float> y(op.y.data);
  const std::int64_t side = p.image_size / p.patch_size;
  const std::int64_t per_tile = side * side;
  const std::int64_t channel = i / (p.patch_size * p.patch_size);
  const std::int64_t line = i / p.patch_size % p.patch_size;
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) {
    const std::int64_t patch = row % per_tile;
    const std::int64_t pixel_line =
        (row / per_tile * p.channels + channel) * p.image_size + patch / side * p.patch_size + line;
    y[row * op.y.stride + i] =
        pixels[pixel_line * p.image_size + patch % side * p.patch_size + i % p.patch_size];
  }
}

struct TowerEmbed {
  Rows patches;
  const float* class_embedding;
  const float* positions;
  std::int64_t tokens;
  Rows y;
};

__global__ void tower_embed_kernel(const TowerEmbed op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Global<const float> patches(op.patches.data);
  const Global<const float> class_embedding(op.class_embedding);
  const Global<const float> positions(op.positions);
  const Global<float> y(op.y.data);
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) {
    const std::int64_t tile = row / op.tokens;
    const std::int64_t token = row % op.tokens;
    const float from = token == 0 ? class_embedding[i]
                                  : patches[(tile * (op.tokens - 1) + token - 1) * op.patches.stride + i];
    y[row * op.y.stride + i] = from + positions[token * op.y.cols + i];
  }
}

struct Shuffle {
  Rows patches;
  std::int64_t factor, squares;
  Rows y;
};

__global__ void pixel_shuffle_kernel(const Shuffle op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Global<const float> patches(op.patches.data);
  const Global<float> y(op.y.data);
  const std::int64_t part = i / op.patches.cols;  // of the square
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) {
    const std::int64_t line = row / op.squares * op.factor + part / op.factor;
    const std::int64_t column = row % op.squares * op.factor + part % op.factor;
    y[row * op.y.stride + i] =
        patches[(line * op.squares * op.factor + column) * op.patches.stride + i % op.patches.cols];
  }
}

struct Embed {
  const std::int32_t* ids;
  const void* table;
  GroupedParams grouped;
  Rows images, y;
};

template <class T>
__global__ void embed_kernel(const Embed op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Global<const std::int32_t> ids(op.ids);
  const Global<const T> table(static_cast<const T*>(op.table));
  const Global<const float> images(op.images.data);
  const Global<float> y(op.y.data);
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) {
    const std::int64_t id = ids[row];
    y[row * op.y.stride + i] =
        id < 0 ? images[(-1 - id) * op.images.stride + i] : widen(table[id * op.y.cols + i]);
  }
}

__global__ void embed_grouped_kernel(const Embed op) {
  const std::int64_t i = element_column();
  if (i >= op.y.cols) return;
  const Global<const std::int32_t> ids(op.ids);
  const Global<const std::uint8_t> table(static_cast<const std::uint8_t*>(op.table));
  const Global<const float> images(op.images.data);
  const Global<float> y(op.y.data);
  for (std::int64_t row = blockIdx.y; row < op.y.rows; row += gridDim.y) {
    const std::int64_t id = ids[row];
    y[row * op.y.stride + i] = id < 0
                                   ? images[(-1 - id) * op.images.stride + i]
                                   : grouped_element(op.grouped, table + id * op.grouped.rows.row_bytes, i);
  }
}

}  // namespace

cudaError_t unfold_patches(cudaStream_t stream, const Patches& op, const Rows& y) {
  return launch<unfold_kernel>(stream, "unfold_patches", element_grid(y.rows, y.cols), element_threads, 0,
                               Unfold{op, y});
}

cudaError_t tower_embed(cudaStream_t stream, const Rows& patches, const float* class_embedding,
                        const float* positions, std::int64_t tokens_per_tile, const Rows& y) {
  return launch<tower_embed_kernel>(stream, "tower_embed", element_grid(y.rows, y.cols), element_threads, 0,
                                    TowerEmbed{patches, class_embedding, positions, tokens_per_tile, y});
}

cudaError_t pixel_shuffle(cudaStream_t stream, const Rows& patches, std::int64_t factor, std::int64_t squares,
                          const Rows& y) {
  return launch<pixel_shuffle_kernel>(stream, "pixel_shuffle", element_grid(y.rows, y.cols), element_threads,
                                      0, Shuffle{patches, factor, squares, y});
}

cudaError_t token_embed(cudaStream_t stream, const std::int32_t* ids, const TokenTable& table,
                        const Rows& images, const Rows& y) {
  if (y.rows == 0) return cudaSuccess;
  const Grid grid = element_grid(y.rows, y.cols);
  const Embed op{ids, table.data,
                 table.grouped == nullptr ? GroupedParams{} : grouped_params(*table.grouped, y.cols), images,
                 y};
  constexpr const char* name = "token_embed";
  if (table.grouped != nullptr)
    return launch<embed_grouped_kernel>(stream, name, grid, element_threads, 0, op);
  switch (table.element) {
    case Element::f16:
      return launch<embed_kernel<Half>>(stream, name, grid, element_threads, 0, op);
    case Element::bf16:
      return launch<embed_kernel<Bfloat16>>(stream, name, grid, element_threads, 0, op);
    case Element::f32:
      break;
  }
  return launch<embed_kernel<float>>(stream, name, grid, element_threads, 0, op);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
