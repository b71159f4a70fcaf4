// The table of CPU kernels: plain parameters and one function pointer a kernel, filled once per instruction
// set.
//
// A kernel computes the part of its output that the caller names, so threading is the caller's. Nothing here
// may be more than plain data: files built for wider instruction sets include it.
#pragma once

#include <cstdint>

namespace galago::kernels {

enum class Element : std::int32_t { f32, f16, bf16 };
enum class Activation : std::int32_t { none, gelu, quick_gelu, silu };

enum class GroupOffset : std::int32_t { none, minimum, zero_point };

/// Rows of quants in groups, as src/tensor/weight_format.h lays them out.
struct GroupedRows {
  std::int32_t bits;   // 4 or 8
  std::int32_t group;  // 16, 32, 64 or 128
  Element scale;       // f16 or f32
  GroupOffset offset;
  const float* codebook;    // 16 values for quants of 4 bits, or null
  std::int64_t row_bytes;   // from row to row
  std::int64_t scales_at;   // within a row
  std::int64_t offsets_at;  // within a row
};

/// Rows of activations in int8: 32 neighbours share a scale.
struct Int8Rows {
  std::int8_t* quants;      // [m, stride], from -127 to 127
  std::int64_t stride;      // k rounded up to whole chunks of 32; the filling is 0
  float* scales;            // [m, stride / 32]
  float* sums;              // [m, stride / sum_length]: scale * sum of the quants
  std::int64_t sum_length;  // 16 or 32
  /// Two neighbouring chunks lie as the first halves of both and then the second, as far as rows of k have
  /// whole eights of chunks: the order in which two chunks of quants of 4 bits are unpacked at once.
  bool paired = false;
};

/// Rows of activations in BF16, in panels of bf16_panel: pairs of neighbours in a row lie beside those of the
/// panel's other rows. What fills the last pair and the last panel is 0.
struct Bf16Rows {
  std::uint32_t* pairs;  // [m / bf16_panel rounded up, n_pairs, bf16_panel]
  std::int64_t n_pairs;  // of a row: k / 2, rounded up to whole eights
};
inline constexpr std::int64_t bf16_panel = 32;

/// Terms of x in int8 at most: each rounds what those before it have left, so that three hold x to 2^-23 of
/// the largest of its chunk.
inline constexpr std::int32_t max_int8_terms = 3;

/// Whether products of these weights with int8 activations exist.
constexpr bool multiplies_int8(const GroupedRows& weights) {
  return weights.codebook == nullptr;
}

/// Whether a row of these weights is unpacked once for all terms of a row of x, eight chunks at a time, where
/// x has few rows; they are to be paired then.
constexpr bool reads_in_eights(const GroupedRows& weights) {
  return multiplies_int8(weights) && weights.bits == 4 && weights.group >= 32 &&
         weights.scale == Element::f16;
}

/// y [m, n] = activation(x w^T + bias) + residual. With `up`: y = activation(x w^T) * (x up^T).
struct Linear {
  const float* x;  // [m, k], x_stride floats from row to row
  std::int64_t x_stride;
  const void* w;   // [n, k], row after row
  const void* up;  // [n, k] or null
  Element element;
  std::int64_t m, n, k;
  const float* bias;  // [n] or null
  Activation activation;
  const float* residual;  // [m, n] or null; may be y
  std::int64_t residual_stride;
  float* y;
  std::int64_t y_stride;
  const GroupedRows* grouped = nullptr;  // what w and up are instead of `element`s
  /// x in int8 to multiply with instead, as the sum of n_int8 terms; only where multiplies_int8.
  const Int8Rows* int8 = nullptr;
  std::int32_t n_int8 = 1;  // up to max_int8_terms
  /// x in BF16 to multiply all but FP32 weights with instead where x has more than linear_few_rows; only
  /// where the table multiplies_bf16.
  const Bf16Rows* bf16 = nullptr;
};

/// Floats of scratch that one thread needs for Linear, whatever its shape: with x in FP32 or int8, and in
/// BF16.
inline constexpr std::int64_t panel_scratch_floats = 3 * 512 * 32;
inline constexpr std::int64_t bf16_rows_at_once = 512;
inline constexpr std::int64_t bf16_scratch_floats = 256 * (144 + bf16_rows_at_once + 32);
constexpr std::int64_t linear_scratch_floats(bool bf16) {
  return bf16 ? bf16_scratch_floats : panel_scratch_floats;
}
/// Up to how many rows of x weights are read row after row, and not packed.
inline constexpr std::int64_t linear_few_rows = 3;
/// Columns of y that one piece of work should be a multiple of, so that no panel is packed twice.
inline constexpr std::int64_t linear_column_grain = 32;

struct Norm {
  const float* x;
  std::int64_t x_stride;
  const float* weight;  // [cols]
  const float* bias;    // [cols]; RMSNorm has none
  float epsilon;
  std::int64_t cols;
  float* y;
  std::int64_t y_stride;
};

/// Keys and values of consecutive positions: `stride` elements from one to the next, or one grouped row after
/// the other.
struct KeyValues {
  const void* keys;
  const void* values;
  std::int64_t stride;
  Element element;
  std::int64_t count;
  const GroupedRows* grouped = nullptr;  // what a position is instead of `element`s; only in pages
};

/// Longest run of positions in one KeyValues.
inline constexpr std::int64_t max_block_keys = 64;
inline constexpr std::int64_t max_head_size = 256;

/// Attention of the queries of one key-value head over positions in blocks (online softmax,
/// arXiv:2205.14135). Query i of row r is at q + r * q_stride + i * head_size; it sees positions [0,
/// first_limit + r * limit_step), or with a window those of the first `sinks` and the last `window` of them.
struct Attention {
  const float* q;
  std::int64_t q_stride;
  float* out;
  std::int64_t out_stride;
  std::int64_t first_row, n_rows;  // rows of q and out to compute
  std::int64_t group;              // query heads that share this key-value head
  std::int64_t head_size;
  float scale;
  std::int64_t first_limit;   // positions that row 0 sees
  std::int64_t limit_step;    // how many more each further row sees: 1 causal, 0 bidirectional
  KeyValues blocks;           // the first block; the others follow as block_at says
  const std::int32_t* pages;  // block b is page pages[b]; null: blocks follow each other in memory
  std::int64_t page_stride;   // bytes from page to page
  std::int64_t window = 0;    // 0: all positions are seen
  std::int64_t sinks = 0;     // seen beside the window (arXiv:2309.17453)
  /// Multiplies in BF16 where there are more than few_queries; only where the table multiplies_bf16.
  bool bf16 = false;
};

/// Queries (rows times group) of one call at most, so that they stay in the second-level cache; and up to how
/// many read keys and values where they lie.
constexpr std::int64_t max_queries(bool bf16) {
  return bf16 ? 192 : 96;
}
inline constexpr std::int64_t few_queries = 8;
/// Floats of scratch that one thread needs for calls of up to `n_queries` queries; whole cache lines.
constexpr std::int64_t attention_scratch_floats(std::int64_t n_queries, std::int64_t head_size, bool grouped,
                                                bool bf16) {
  if (n_queries <= few_queries) return grouped ? 2 * max_block_keys * head_size : 0;
  const std::int64_t wide = (head_size + 31) / 32 * 32;  // the widest panel there is
  const std::int64_t floats =
      bf16 ? 3 * max_block_keys * wide / 2 + n_queries * (wide * 3 / 2 + max_block_keys * 3 / 2 + 16 + 1)
           : max_block_keys * (head_size + wide) + n_queries * (head_size + wide + max_block_keys + 32 + 2);
  return (floats + 15) / 16 * 16;
}

/// Behind the point of a resampling's weights; 8 of 32 bits are the pixel's, 2 for filters that overshoot.
inline constexpr std::int32_t resample_bits = 32 - 8 - 2;
/// Of those, how many are a weight's lower part: both parts are factors of 16 bits then.
inline constexpr std::int32_t resample_low_bits = 12;
/// Rows that are resampled at once.
inline constexpr std::int64_t resample_rows = 4;

/// One axis of a resampling: output i is made of inputs [first[i], first[i] + count[i]). Their weights come
/// in pairs: the upper parts of both, signed, then the lower parts of both, which are not negative.
struct Taps {
  const std::int32_t* first;    // [n]
  const std::int32_t* count;    // [n]
  const std::int16_t* weights;  // [n, stride]; 0 behind the last
  std::int64_t stride;          // a multiple of 8: of two pairs
  std::int64_t n;
};

struct KernelTable {
  const char* name;
  /// Products of int8 activations gain time with weights of 8 bits too, however many rows x has.
  bool gains_from_int8;
  bool multiplies_bf16;
  /// Grouped weights are multiplied with activations in BF16 faster than with those in int8, whose sums have
  /// to be scaled group by group.
  bool bf16_beats_int8;
  void (*linear)(const Linear&, std::int64_t first_column, std::int64_t n_columns, float* scratch);
  /// Rows [first_row, first_row + n_rows) of x [m, k] to the sum of n_terms terms in int8.
  void (*quantise)(const float* x, std::int64_t x_stride, std::int64_t k, const Int8Rows* terms,
                   std::int32_t n_terms, std::int64_t first_row, std::int64_t n_rows);
  /// Panels [first_panel, first_panel + n_panels) of x [m, k] to BF16; null where the table does not multiply
  /// it.
  void (*round_to_bf16)(const float* x, std::int64_t x_stride, std::int64_t m, std::int64_t k,
                        const Bf16Rows& to, std::int64_t first_panel, std::int64_t n_panels);
  void (*layer_norm)(const Norm&, std::int64_t first_row, std::int64_t n_rows);
  void (*rms_norm)(const Norm&, std::int64_t first_row, std::int64_t n_rows);
  /// `scratch` holds attention_scratch_floats(n_rows * group, head_size, is grouped).
  void (*attention)(const Attention&, float* scratch);
  /// x [n] in place, with cosines [n / 2] and sines [n / 2].
  void (*rope_head)(float* x, const float* table, std::int64_t head_size);
  /// to [n] = from [n], rounded to nearest even.
  void (*narrow)(const float* from, void* to, Element element, std::int64_t n);
  void (*widen)(const void* from, Element element, float* to, std::int64_t n);
  /// to [n] = one grouped row
  void (*decode)(const GroupedRows& format, const void* row, float* to, std::int64_t n);
  /// to [n] = activation(gate [n]) * up [n]
  void (*gate)(const float* gate, const float* up, Activation activation, float* to, std::int64_t n);
  /// to [n] = a [n] + b [n]
  void (*add)(const float* a, const float* b, float* to, std::int64_t n);
  /// Four rows [n_inputs, 3] of pixels, to [4, taps.n, 3], `stride` bytes from row to row; a byte behind each
  /// row is written to.
  void (*resample_columns)(const std::uint8_t* const* rows, std::int64_t n_inputs, const Taps& taps,
                           std::uint8_t* to, std::int64_t stride);
  /// sums [n] += four rows [n] times a weight each
  void (*add_rows)(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t* sums,
                   std::int64_t n);
  /// to [n] = such sums, in fixed point, rounded to pixels
  void (*round_sums)(const std::int32_t* sums, std::uint8_t* to, std::int64_t n);
};

namespace portable {
const KernelTable& table();
}
namespace avx2 {
const KernelTable& table();
}
namespace avx_vnni {
const KernelTable& table();
}
namespace avx512 {
const KernelTable& table();
}
namespace avx512_vnni {
const KernelTable& table();
}
namespace avx512_bf16 {  // with VNNI
const KernelTable& table();
}
namespace amx {  // of int8 and BF16, with all of the sets above but avx_vnni
const KernelTable& table();
}

}  // namespace galago::kernels
