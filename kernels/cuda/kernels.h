// The CUDA kernels: plain parameters and one function a kernel that queues it in a stream. Formats and
// activations are those of the CPU kernels.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernels.h"
#include "kernels/cuda/runtime.h"
#include "kernels/sampling.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// FP32 rows, `stride` floats from one to the next.
struct Rows {
  float* data;
  std::int64_t rows, cols, stride;
};

// --- linear layers ---

/// Most rows of x that gemv() takes.
inline constexpr std::int64_t max_gemv_rows = 8;

/// y = activation(x w^T + bias) + residual for up to max_gemv_rows rows of x; with `up` y = activation(x w^T)
/// * (x up^T). `op.grouped`, where there is one, lies in host memory, its codebook in the device's.
cudaError_t gemv(cudaStream_t stream, const Linear& op);

/// to [n_rows, cols] in FP16 = grouped rows.
cudaError_t dequantise(cudaStream_t stream, const GroupedRows& format, const void* from, std::int64_t n_rows,
                       std::int64_t cols, void* to);
/// to [rows, narrow_stride(cols)] in FP16 or BF16 = x, filled up with 0; FP16 saturates.
cudaError_t narrow_rows(cudaStream_t stream, const Rows& x, Element element, void* to);
/// Rows of 16-bit numbers begin at multiples of 16 bytes.
constexpr std::int64_t narrow_stride(std::int64_t cols) {
  return (cols + 7) / 8 * 8;
}

/// What linear_tensor() works with.
struct TensorProduct {
  const void* x;          // op.x narrowed to the weights' type, FP16 where they are grouped
  float* partials;        // [n_splits, m, weight rows]; not read where n_splits is 1
  std::int64_t n_splits;  // blocks that share the sums of one result
};
/// Rows of x up to which one pass over the weights beats two, or cuBLAS.
inline constexpr std::int64_t max_tensor_rows = 64;
/// Whether linear_tensor() takes these weights: FP16 and BF16 in whole vectors, and quants in groups of 32
/// and more with FP16 scales. Reads op's w, up, k, element and grouped.
bool takes_tensor_product(const Linear& op);
/// Shares of the sums that keep `n_processors` busy, with partials of at most `max_floats`.
std::int64_t tensor_product_splits(const Linear& op, int n_processors, std::int64_t max_floats);
/// The same as gemv() on tensor cores, for any number of rows. Needs sm_80.
cudaError_t linear_tensor(cudaStream_t stream, const Linear& op, const TensorProduct& product);

struct LinearEnd {
  Rows y;
  const float* bias;  // [cols] or null
  Activation activation;
  const float* residual;  // [rows, cols] or null
  std::int64_t residual_stride;
};
/// y = activation(y + bias) + residual
cudaError_t finish_linear(cudaStream_t stream, const LinearEnd& op);

/// y = activation(gate) * up of gate_up [rows, 2 * y.cols]
cudaError_t gate(cudaStream_t stream, const Rows& gate_up, Activation activation, const Rows& y);
/// y *= scale
cudaError_t scale_rows(cudaStream_t stream, const Rows& y, float scale);
/// y += x * scale [cols]
cudaError_t add_scaled(cudaStream_t stream, const Rows& x, const float* scale, const Rows& y);

/// Whether the current device can run what was built; the error of the runtime if not.
cudaError_t find_kernels();

// --- norms ---

cudaError_t layer_norm(cudaStream_t stream, const Norm& op, std::int64_t n_rows);
cudaError_t rms_norm(cudaStream_t stream, const Norm& op, std::int64_t n_rows);

// --- embeddings ---

struct Patches {
  const float* pixels;  // [n_tiles, channels, image_size, image_size]
  std::int64_t n_tiles, channels, image_size, patch_size;
};
cudaError_t unfold_patches(cudaStream_t stream, const Patches& op, const Rows& y);
/// y row = class embedding or patch, plus position.
cudaError_t tower_embed(cudaStream_t stream, const Rows& patches, const float* class_embedding,
                        const float* positions, std::int64_t tokens_per_tile, const Rows& y);
/// Squares of factor by factor patches side by side; `squares` of them on a line.
cudaError_t pixel_shuffle(cudaStream_t stream, const Rows& patches, std::int64_t factor, std::int64_t squares,
                          const Rows& y);

struct TokenTable {
  const void* data;
  Element element;
  const GroupedRows* grouped;  // host memory, as in Linear; or null
};
/// y row i = table row ids[i], or row -1 - ids[i] of `images`. `ids` lie on the device.
cudaError_t token_embed(cudaStream_t stream, const std::int32_t* ids, const TokenTable& table,
                        const Rows& images, const Rows& y);

// --- tokens ---

/// What choosing works with, on the device.
struct ChoiceScratch {
  std::uint64_t* weights;  // [rows, cols]
  std::uint32_t* said;     // [rows, said_words(cols)]: a bit a token; of rows without penalty not read
  std::int32_t* tokens;    // [rows]: the results
};
inline constexpr std::int64_t choices_at_once = 32;

/// A token for each row of logits, at most choices_at_once, by choices [rows] in the host's memory, which the
/// call reads (kernels/sampling.h).
cudaError_t choose(cudaStream_t stream, const Rows& logits, const Choice* choices,
                   const ChoiceScratch& scratch);

// --- rotary positions ---

cudaError_t rope_frequencies(cudaStream_t stream, float base, std::int64_t dimensions, float* frequencies,
                             std::int64_t count);
/// table rows: cosines, then sines of positions [rows] * frequencies, times scale. `positions` lie on the
/// device.
cudaError_t rope_table(cudaStream_t stream, const float* frequencies, const std::int32_t* positions,
                       float scale, const Rows& table);
cudaError_t rope(cudaStream_t stream, const Rows& x, std::int64_t head_size, const Rows& table);

// --- attention ---

/// Which token of its sequence each row is, on the device: launches do not depend on it, so they can be
/// recorded and repeated for other tokens.
struct RowPlaces {
  const std::int32_t* positions;  // [rows], counted without the pages that left the table
  const std::int32_t* tables;     // [rows], where a row's page table begins in PagedKeys::pages
};

/// Where one layer's keys and values lie: pages as backend::LayerPages has them, the tables on the device.
struct PagedKeys {
  void* base;
  std::int64_t page_stride;  // bytes
  std::int64_t page_tokens;
  Element element;            // f32 or f16
  GroupedRows grouped;        // what a head's part of a position is instead; of 0 bits: nothing
  const std::int32_t* pages;  // page tables, one after the other
};
/// Whether pages of such rows can be written and attended to.
constexpr bool takes_pages(const GroupedRows& rows) {
  return rows.group == 32 && rows.scale == Element::f16 && rows.codebook == nullptr &&
         rows.offset != GroupOffset::zero_point;
}

/// Stores rows of k and v in their pages.
cudaError_t append_kv(cudaStream_t stream, const Rows& k, const Rows& v, const RowPlaces& places,
                      std::int64_t head_size, const PagedKeys& to);

/// Queries and what they attend to. Query head h reads key-value head h / (n_heads / n_kv_heads).
struct Attend {
  Rows q, out;     // [n_rows, n_heads * head_size]
  const float* k;  // [n_rows, n_kv_heads * head_size], kv_stride floats apart; null: in pages
  const float* v;
  std::int64_t kv_stride;
  PagedKeys paged;
  std::int64_t n_heads, n_kv_heads, head_size;
  float scale;
  std::int64_t tile_rows;       // bidirectional within runs of so many rows; 0: causal
  std::int64_t first_position;  // of row 0, causal only; its page table is the first, but in attend_few()
  std::int64_t window;          // positions that a causal query sees; 0: all up to its own
  std::int64_t sinks;           // first positions that it sees beside its window (arXiv:2309.17453)
};
inline constexpr std::int64_t max_attend_head_size = 256;

/// Attention of many rows, a block of queries at a time (arXiv:2307.08691); pages in any format.
cudaError_t attend_many(cudaStream_t stream, const Attend& op);

/// The same on tensor cores, for dense keys and pages of FP16 or quants: queries, keys, values and weights
/// are rounded to FP16, sums are FP32. Needs sm_80.
cudaError_t attend_tensor(cudaStream_t stream, const Attend& op);

/// Attention of few rows over pages, each where `places` says, positions split over up to `n_splits` blocks,
/// none with less than split_positions (flash decoding): how many depends on the row alone, whatever else is
/// in the launch. `partials` has decode_partial_floats() floats.
cudaError_t attend_few(cudaStream_t stream, const Attend& op, const RowPlaces& places, std::int64_t n_splits,
                       float* partials);
inline constexpr std::int64_t split_positions = 128;
constexpr std::int64_t decode_partial_floats(std::int64_t n_rows, std::int64_t n_heads,
                                             std::int64_t head_size, std::int64_t n_splits) {
  return n_rows * n_heads * n_splits * (head_size + 2);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
