// What a device can do: the ops that models are written in. Every op takes its scratch from the arena and
// hands its work, with its cost, to the queue, so planning is running with both in plan mode.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "backend/queue.h"
#include "backend/token_choice.h"
#include "memory/arena.h"
#include "memory/device_memory.h"
#include "tensor/view.h"

namespace galago::backend {

using PageId = std::int32_t;

/// Where ops take memory from and hand work to; passed to every op, nothing is global.
struct Execution {
  memory::Arena& arena;
  Queue& queue;
};

enum class Activation {
  none,
  gelu,        ///< exact, with erf
  quick_gelu,  ///< x * sigmoid(1.702 x), CLIP's
  silu,        ///< x * sigmoid(x)
};

/// What a linear op does to each result on its way out: y = activation(x w^T + bias) + residual.
struct Epilogue {
  Weight bias{};  ///< [n], FP32; not present: none
  Activation activation = Activation::none;
  Matrix residual{};  ///< [m, n]; rows == 0: none; may be y itself
};

/// The factors of a low-rank side branch of a linear layer (arXiv:2106.09685).
struct LowRank {
  Weight a;  ///< [rank, k]
  Weight b;  ///< [n, rank]
  float scale = 1;
};

/// Non-overlapping square patches of pictures, [n_tiles, channels, image_size, image_size], channels first.
struct PatchGrid {
  std::int64_t n_tiles;
  std::int64_t channels;
  std::int64_t image_size;
  std::int64_t patch_size;

  std::int64_t side() const { return image_size / patch_size; }
  std::int64_t per_tile() const { return side() * side(); }
  std::int64_t patch_values() const { return channels * patch_size * patch_size; }
};

/// Heads of an attention block. Query head h reads key-value head h / (n_heads / n_kv_heads).
struct Heads {
  std::int64_t n_heads;
  std::int64_t n_kv_heads;
  std::int64_t head_size;
  float scale;              ///< applied to q k^T, usually 1 / sqrt(head_size)
  std::int64_t window = 0;  ///< positions that a causal query sees, its own included; 0: all up to its own
  std::int64_t sinks = 0;   ///< first positions that it sees beside its window (arXiv:2309.17453)
};

/// One layer's part of the KV pages. Page p of the layer begins at base + p * page_stride and holds the keys
/// [n_kv_heads, page_tokens, head_size] and then the values, likewise; a head's part of a position is one row
/// in `format` (FP32, FP16 or grouped).
struct LayerPages {
  std::byte* base = nullptr;  ///< null in plan mode
  Bytes page_stride = 0;
  std::int64_t page_tokens = 0;
  WeightFormat format = DType::f16;
  std::int64_t sequence_pages = 0;  ///< most pages of one sequence

  Bytes row_bytes(const Heads& heads) const { return format.row_bytes(heads.head_size); }
  /// All heads' keys, or values, of a page.
  Bytes half_bytes(const Heads& heads) const {
    return static_cast<Bytes>(heads.n_kv_heads * page_tokens) * row_bytes(heads);
  }
};

/// The rows of one sequence within a step: rows [first_row, first_row + n_rows) of the step are the tokens at
/// positions first_position, first_position + 1, ... of a sequence whose page table is `pages`. `pages` may
/// be empty in plan mode.
///
/// Position p has place p - given_back in the table, in pages[place / page_tokens]. Pages of positions that
/// no query will see again leave the table, those behind the sinks first, so places are counted without them.
/// Sinks and windows are the same counted in places.
struct SequenceRows {
  std::int64_t first_row;
  std::int64_t n_rows;
  std::int64_t first_position;
  std::span<const PageId> pages;
  std::int64_t length = 0;      ///< of the sequence as far as it is known, which rows of later steps may
                                ///< complete; 0: up to these rows
  std::int64_t given_back = 0;  ///< positions, a whole number of pages of them

  std::int64_t first_place() const { return first_position - given_back; }
};

/// What the rows of a step are.
struct StepRows {
  std::span<const std::int32_t> ids;        ///< one a row
  std::span<const SequenceRows> sequences;  ///< of the rows, in their order; empty: rows of no sequence
  const std::int32_t* on_device = nullptr;  ///< where bring_rows() put all this

  /// Those of `count` sequences.
  StepRows of(std::size_t first, std::size_t count) const {
    return {ids, sequences.subspan(first, count), on_device};
  }
  std::int64_t first_row() const { return sequences.front().first_row; }
  std::int64_t n_rows() const { return sequences.back().first_row + sequences.back().n_rows - first_row(); }
};

/// What decides which work a step consists of, if nothing but numbers in its StepRows does besides.
struct StepKey {
  std::int64_t n_rows = 0;
  std::optional<std::size_t> adapter{};
  const void* frequencies = nullptr;   ///< rotary ones
  const std::int32_t* rows = nullptr;  ///< StepRows::on_device, where the step's memory begins
  const float* results = nullptr;

  bool operator==(const StepKey& other) const {
    return n_rows == other.n_rows && adapter == other.adapter && frequencies == other.frequencies &&
           rows == other.rows && results == other.results;
  }
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// The word that chooses it: "cpu", "cuda:0".
  virtual std::string name() const = 0;
  /// What the kernels are built for and how many threads run them: "avx2, 2 threads".
  virtual std::string description() const = 0;
  /// The memory that ops work in where it is not the host's.
  virtual memory::DeviceMemory* device_memory() { return nullptr; }
  /// Returns when all work that was handed in is done, which on a device may be later.
  virtual void finish() {}

  /// y [m, n] = activation(x [m, k] w^T + bias) + residual, w [n, k] in FP32, FP16 or BF16; sums in FP32.
  virtual void linear(Execution& exec, const Matrix& x, const Weight& w, const Epilogue& epilogue,
                      const Matrix& y) = 0;
  /// y [m, n] = activation(x gate^T) * (x up^T): the SiLU MLP's first half. w = gate over up, [2 n, k].
  virtual void gated_linear(Execution& exec, const Matrix& x, const Weight& gate_up, Activation activation,
                            const Matrix& y) = 0;
  /// y [m, n] = activation(gate) * up of x [m, 2 n], gate beside up: gated_linear's end on its own.
  virtual void gate(Execution& exec, const Matrix& x, Activation activation, const Matrix& y) = 0;
  /// y [m, n] += scale * (x [m, k] a^T) b^T by way of `scratch` [m, rank]. No rows take the same memory as
  /// many, so that a plan holds whichever rows have a branch.
  virtual void add_low_rank(Execution& exec, const Matrix& x, const LowRank& factors, const Matrix& scratch,
                            const Matrix& y) = 0;
  /// Over each row: (x - mean) / sqrt(variance + epsilon) * weight + bias. y may be x.
  virtual void layer_norm(Execution& exec, const Matrix& x, const Weight& weight, const Weight& bias,
                          float epsilon, const Matrix& y) = 0;
  /// Over each row: x / sqrt(mean(x^2) + epsilon) * weight (arXiv:1910.07467). y may be x.
  virtual void rms_norm(Execution& exec, const Matrix& x, const Weight& weight, float epsilon,
                        const Matrix& y) = 0;

  /// y [n_tiles * per_tile, patch_values]: each row one patch, in the order of a convolution's weight
  /// (channel, row, column). `pixels` lie in the host's memory; null in plan mode.
  virtual void unfold_patches(Execution& exec, const float* pixels, const PatchGrid& grid,
                              const Matrix& y) = 0;
  /// y [n_tiles * (1 + per_tile), width]: per tile the class embedding, then its patches; each plus its
  /// position.
  virtual void tower_embed(Execution& exec, const Matrix& patches, const Weight& class_embedding,
                           const Weight& positions, const Matrix& y) = 0;
  /// y row of a square of factor by factor patches = their rows one after the other, line by line; squares
  /// likewise. patches [side * side, width], y [(side / factor)^2, factor^2 * width].
  virtual void pixel_shuffle(Execution& exec, const Matrix& patches, std::int64_t factor,
                             const Matrix& y) = 0;
  /// y [rows, cols] += x * scale, scale [cols].
  virtual void add_scaled(Execution& exec, const Matrix& x, const Weight& scale, const Matrix& y) = 0;
  /// Puts what the step's rows are where ops read it, in one copy, in memory from the arena's activations
  /// that the caller's scope gives back. `pages` are those of any layer.
  virtual StepRows bring_rows(Execution& exec, const StepRows& rows, const LayerPages& pages) = 0;
  /// Does a step's work, all that follows bring_rows(). What was recorded of a step with an equal key may be
  /// repeated instead; `work` then runs for its costs only.
  virtual void repeat(Execution& exec, const StepKey& key, const std::function<void()>& work) = 0;

  /// y row i = table row ids[i], or, where ids[i] is negative, row -1 - ids[i] of `image_embeddings`.
  virtual void token_embed(Execution& exec, const StepRows& rows, const Weight& table,
                           const Matrix& image_embeddings, const Matrix& y) = 0;

  /// frequencies [count] = base ^ (-2 i / dimensions), in FP32.
  virtual void rope_frequencies(Execution& exec, float base, std::int64_t dimensions,
                                std::span<float> frequencies) = 0;
  /// table [rows, 2 * frequencies]: cosines, then sines of position * inverse_frequencies, times `scale`, for
  /// each row of the sequences.
  virtual void rope_table(Execution& exec, const StepRows& rows, const Weight& inverse_frequencies,
                          float scale, const Matrix& table) = 0;
  /// Rotates the first table.cols elements of every head of x [rows, n * head_size] in place, element i with
  /// i + table.cols / 2 (arXiv:2104.09864).
  virtual void rope(Execution& exec, const Matrix& x, std::int64_t head_size, const Matrix& table) = 0;
  /// Stores k and v [rows, n_kv_heads * head_size] of each sequence's rows into its pages.
  virtual void append_kv(Execution& exec, const Matrix& k, const Matrix& v, const StepRows& rows,
                         const Heads& heads, const LayerPages& pages) = 0;

  /// Bidirectional attention within each tile of `tokens_per_tile` rows: q, k, v, out [rows, n_heads *
  /// head_size].
  virtual void attend_tile(Execution& exec, const Matrix& q, const Matrix& k, const Matrix& v,
                           std::int64_t tokens_per_tile, const Heads& heads, const Matrix& out) = 0;
  /// Causal attention of each sequence's rows over its pages, its own rows included (they were appended
  /// before).
  virtual void attend_pages(Execution& exec, const Matrix& q, const StepRows& rows, const LayerPages& pages,
                            const Heads& heads, const Matrix& out) = 0;

  /// A token for each row of logits, `tokens` being in the host's memory and there when the call returns.
  virtual void choose(Execution& exec, const Matrix& logits, std::span<const TokenChoice> choices,
                      std::span<std::int32_t> tokens) = 0;
};

}  // namespace galago::backend
