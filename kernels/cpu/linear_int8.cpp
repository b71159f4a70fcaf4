// Grouped weights times activations in int8: whole numbers are multiplied and summed within a group, and only
// the sums are scaled. With w = scale * q + offset, a group adds scale * scale_x * sum(q x) + offset *
// sum(x).
#include <math.h>
#include <string.h>

#include "kernels/cpu/group_numbers.h"
#include "kernels/cpu/weight_rows.h"

#if defined(GALAGO_AVX2) || defined(GALAGO_AVX512)
#include "kernels/cpu/int8_x86.h"
#else
#include "kernels/cpu/int8_portable.h"
#endif

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t chunk = 32;
constexpr std::int64_t block_chunks = depth_block / chunk;

/// Which quant stands for 0 where a format has no offset: its `none` is from -8 to 7, stored from 0 to 15.
constexpr float middle(int bits) {
  return bits == 4 ? 8.0F : 0.0F;
}

template <int bits>
struct ChunkOf {
  using Type = NibbleChunk;
};
template <>
struct ChunkOf<8> {
  using Type = ByteChunk;
};

/// A weight row's scales and offsets.
template <int bits, int parts>
struct GroupValues {
  const GroupedRows& format;
  int shift;  // a chunk's group is chunk >> shift

  explicit GroupValues(const GroupedRows& rows)
      : format(rows),
        shift(rows.group == 128  ? 2
              : rows.group == 64 ? 1
                                 : 0) {}

  /// Of part `index` of the row: parts are chunks, or halves of chunks.
  std::int64_t group_of(std::int64_t index) const { return parts == 2 ? index : index >> shift; }
  float scale(const std::uint8_t* row, std::int64_t index) const {
    return number_at(row + format.scales_at, format.scale, group_of(index));
  }
  float offset(const std::uint8_t* row, std::int64_t index, float scale) const {
    switch (format.offset) {
      case GroupOffset::minimum:
        return number_at(row + format.offsets_at, format.scale, group_of(index));
      case GroupOffset::zero_point:
        return -scale * static_cast<float>(
                            reinterpret_cast<const std::int8_t*>(row + format.offsets_at)[group_of(index)]);
      case GroupOffset::none:
        break;
    }
    return -scale * middle(bits);
  }

  /// scales [count] = the row's scales of parts [first, first + count) times x's; returns the sum of offsets
  /// times x's sums.
  float prepare(const std::uint8_t* row, std::int64_t first, std::int64_t count, const float* x_scales,
                const float* x_sums, float* scales) const {
    std::int64_t i = 0;
    Vec total = set1(0);
    if (parts == 1 && shift == 0 && format.offset != GroupOffset::zero_point) {
      for (; i + width <= count; i += width) {
        const Vec own = numbers_at(row + format.scales_at, format.scale, first + i);
        store(scales + i, mul(own, load(x_scales + i)));
        const Vec offsets = format.offset == GroupOffset::minimum
                                ? numbers_at(row + format.offsets_at, format.scale, first + i)
                                : mul(own, set1(-middle(bits)));
        total = fma(offsets, load(x_sums + i), total);
      }
    }
    float rest = 0;
    for (; i < count; ++i) {
      const float own = scale(row, first + i);
      scales[i] = own * x_scales[i / parts];
      rest += offset(row, first + i, own) * x_sums[i];
    }
    return sum(total) + rest;
  }
};

/// Parts that a row of k has: a last half chunk may be missing.
template <int parts>
std::int64_t parts_of(std::int64_t k) {
  return (k + chunk / parts - 1) / (chunk / parts);
}

/// results [n] = row `row` of x times n weight rows
template <int bits, int parts, int n>
void dot_rows(const Linear& op, const std::uint8_t* rows, std::int64_t row, float* results) {
  using Chunk = typename ChunkOf<bits>::Type;
  const GroupValues<bits, parts> values(*op.grouped);
  const Int8Rows& x = *op.int8;
  const std::int8_t* quants = x.quants + row * x.stride;
  const float* x_scales = x.scales + row * (x.stride / chunk);
  const float* x_sums = x.sums + row * (x.stride / x.sum_length);
  const std::int64_t n_parts = parts_of<parts>(op.k);
  // The rows after these n lie behind them: as much of them is fetched at each chunk as is read.
  const std::uint8_t* next = rows + n * op.grouped->row_bytes;
  const std::int64_t step = n * op.grouped->row_bytes * parts / n_parts;
  Dot sums[n];
  for (int j = 0; j < n; ++j) {
    sums[j] = zero_dot();
    results[j] = 0;
  }
  for (std::int64_t first = 0; first < n_parts; first += block_chunks * parts) {
    const std::int64_t count =
        n_parts - first < block_chunks * parts ? n_parts - first : block_chunks * parts;
    float scales[n][block_chunks * parts + 1];
    for (int j = 0; j < n; ++j) {
      results[j] += values.prepare(rows + j * op.grouped->row_bytes, first, count, x_scales + first / parts,
                                   x_sums + first, scales[j]);
      scales[j][count] = 0;  // of the half chunk that is missing
    }
    for (std::int64_t i = 0; i < count; i += parts) {
      const std::int64_t at = (first + i) / parts;
      prefetch<n*(Chunk::bytes + 4)>(next + at * step);
      for (int j = 0; j < n; ++j) {
        const auto products =
            Chunk::products(rows + j * op.grouped->row_bytes + at * Chunk::bytes, quants + at * chunk);
        sums[j] = parts == 2 ? add_scaled(products, scales[j][i], scales[j][i + parts - 1], sums[j])
                             : add_scaled(products, scales[j][i], sums[j]);
      }
    }
  }
  for (int j = 0; j < n; ++j) results[j] += sum(sums[j]);
}

template <int bits, int parts>
void dot(const Linear& op, const void* weights, std::int64_t row, std::int64_t column, std::int64_t n_columns,
         float* sums) {
  const std::int64_t row_bytes = op.grouped->row_bytes;
  const auto* w = static_cast<const std::uint8_t*>(weights) + column * row_bytes;
  std::int64_t j = 0;
  for (; j + 4 <= n_columns; j += 4) dot_rows<bits, parts, 4>(op, w + j * row_bytes, row, sums + j);
  for (; j < n_columns; ++j) dot_rows<bits, parts, 1>(op, w + j * row_bytes, row, sums + j);
}

/// A panel of weight rows for a block of k, laid out for quads of k.
template <int bits, int parts>
struct PackedPanel {
  std::uint8_t* quants;  // [chunk][quad of 8][panel][4]
  float* scales;         // [part][panel]
  float* offsets;        // [part][panel]

  explicit PackedPanel(float* memory)
      : quants(reinterpret_cast<std::uint8_t*>(memory)),
        scales(memory + block_chunks * chunk * panel / 4),
        offsets(scales + block_chunks * parts * panel) {
    static_assert(block_chunks * (chunk / 4 + 2 * parts) <= depth_block);
  }

  void pack_numbers(const GroupValues<bits, parts>& values, const std::uint8_t* row, std::int64_t j,
                    std::int64_t first_part, std::int64_t n_parts) const {
    for (std::int64_t i = 0; i < n_parts; ++i) {
      const float scale = values.scale(row, first_part + i);
      scales[i * panel + j] = scale;
      // Quants of 8 bits are made unsigned by adding 128.
      offsets[i * panel + j] = values.offset(row, first_part + i, scale) - (bits == 8 ? 128 * scale : 0);
    }
    if (n_parts % parts != 0) scales[n_parts * panel + j] = offsets[n_parts * panel + j] = 0;
  }

  /// Quants of the rows [j, j + n_rows), n_rows up to transposed_rows and the first at `row`; missing ones
  /// are 0.
  void pack_quants(const std::uint8_t* row, std::int64_t row_bytes, std::int64_t j, std::int64_t n_rows,
                   std::int64_t n_chunks) const {
    constexpr std::int64_t chunk_bytes = bits * chunk / 8;
    for (std::int64_t i = 0; i < n_chunks; ++i) {
      std::uint8_t* to = quants + (i * 8 * panel + j) * 4;
      transpose_quads<PanelQuants<bits>>(row + i * chunk_bytes, row_bytes, n_rows, to, panel * 4);
    }
  }

  void clear_numbers(std::int64_t j, std::int64_t n_chunks) const {
    for (std::int64_t i = 0; i < n_chunks * parts; ++i) scales[i * panel + j] = offsets[i * panel + j] = 0;
  }
};

/// sums [rows][panel] += rows of x, from row `row` and chunk `first` on, times the panel
template <int bits, int parts, int rows>
void multiply_tile(const Int8Rows& x, std::int64_t row, std::int64_t first, std::int64_t n_chunks,
                   const PackedPanel<bits, parts>& packed, float* sums) {
  constexpr int quads = 8 / parts;
  const std::int64_t x_chunks = x.stride / chunk;
  const std::int8_t* quants = x.quants + row * x.stride + first * chunk;
  Vec totals[rows][2];
  for (int i = 0; i < rows; ++i) {
    totals[i][0] = load(sums + i * panel);
    totals[i][1] = load(sums + i * panel + width);
  }
  for (std::int64_t at = 0; at < n_chunks * parts; ++at) {
    decltype(zero_quads()) products[rows][2];
    for (auto& pair : products) pair[0] = pair[1] = zero_quads();
    const std::uint8_t* w = packed.quants + (at / parts * 8 + at % parts * quads) * panel * 4;
    const std::int8_t* left = quants + at * (chunk / parts);
    for (int quad = 0; quad < quads; ++quad) {
      const Quads w0 = load_quads(w + quad * panel * 4);
      const Quads w1 = load_quads(w + (quad * panel + width) * 4);
      for (int i = 0; i < rows; ++i) {
        std::int32_t four;
        memcpy(&four, left + i * x.stride + quad * 4, 4);
        const Quads value = broadcast_quad(four);
        products[i][0] = accumulate(products[i][0], w0, value);
        products[i][1] = accumulate(products[i][1], w1, value);
      }
    }
    for (int half = 0; half < 2; ++half) {
      const Vec scale = load(packed.scales + at * panel + half * width);
      const Vec offset = load(packed.offsets + at * panel + half * width);
      for (int i = 0; i < rows; ++i) {
        const Vec x_scale = set1(x.scales[(row + i) * x_chunks + first + at / parts]);
        const Vec x_sum = set1(x.sums[((row + i) * x_chunks + first) * parts + at]);
        totals[i][half] =
            fma(offset, x_sum, fma(mul(scale, x_scale), to_floats(products[i][half]), totals[i][half]));
      }
    }
  }
  for (int i = 0; i < rows; ++i) {
    store(sums + i * panel, totals[i][0]);
    store(sums + i * panel + width, totals[i][1]);
  }
}

template <int bits, int parts>
void multiply(const Linear& op, const void* weights, const PanelPart& part, float* memory, float* sums) {
  const PackedPanel<bits, parts> packed(memory);
  const GroupValues<bits, parts> values(*op.grouped);
  const std::int64_t first = part.first / chunk;
  const std::int64_t n_chunks = (part.depth + chunk - 1) / chunk;
  const std::int64_t row_bytes = op.grouped->row_bytes;
  const auto* first_row = static_cast<const std::uint8_t*>(weights) + part.column * row_bytes;
  for (std::int64_t j = 0; j < panel; ++j) {
    if (j < part.n_columns) {
      packed.pack_numbers(values, first_row + j * row_bytes, j, first * parts, parts_of<parts>(part.depth));
    } else {
      packed.clear_numbers(j, n_chunks);
    }
  }
  const std::uint8_t* quants = first_row + first * (bits * chunk / 8);
  for (std::int64_t j = 0; j < panel; j += transposed_rows) {
    const std::int64_t left = part.n_columns > j ? part.n_columns - j : 0;
    packed.pack_quants(quants + j * row_bytes, row_bytes, j, left < transposed_rows ? left : transposed_rows,
                       n_chunks);
  }
  constexpr int rows = int8_rows_at_once;
  std::int64_t i = 0;
  for (; i + rows <= part.n_rows; i += rows) {
    multiply_tile<bits, parts, rows>(*op.int8, part.row + i, first, n_chunks, packed, sums + i * panel);
  }
  for (; i < part.n_rows; ++i) {
    multiply_tile<bits, parts, 1>(*op.int8, part.row + i, first, n_chunks, packed, sums + i * panel);
  }
}

template <int bits, int parts>
WeightRows rows_of(const GroupedRows& format) {
  if constexpr (bits <= panel_bits) {
    return {multiply<bits, parts>, dot<bits, parts>};
  } else {
    return {grouped_rows(format).multiply, dot<bits, parts>};
  }
}

/// Largest magnitude of a chunk; not finite if an element is not.
float magnitude(const float* x) {
  Vec largest = set1(0);
  Vec zeros = set1(0);  // stays 0 unless an element is not finite
  for (int i = 0; i < chunk; i += width) {
    const Vec value = load(x + i);
    largest = max(largest, max(value, sub(set1(0), value)));
    zeros = fma(value, set1(0), zeros);
  }
  float lanes[width];
  store(lanes, largest);
  float result = sum(zeros);
  for (const float lane : lanes) result = lane > result ? lane : result;
  return result;
}

/// One chunk of x to int8; sums [chunk / sum_length].
void quantise_chunk(const float* x, std::int64_t sum_length, std::int8_t* quants, float* scale, float* sums) {
  const float largest = magnitude(x);
  // A broken model must not look like a working one: what is not finite makes results that are not.
  const bool finite = largest >= 0 && largest < INFINITY;
  *scale = finite ? largest / 127 : NAN;
  const Vec inverse = set1(finite && largest > 1e-30F ? 127 / largest : 0);
  float rounded[chunk];
  for (int i = 0; i < chunk; i += width) store(rounded + i, round(mul(load(x + i), inverse)));
  for (std::int64_t first = 0; first < chunk; first += sum_length) {
    std::int32_t total = 0;
    for (std::int64_t i = first; i < first + sum_length; ++i) {
      quants[i] = finite ? static_cast<std::int8_t>(rounded[i]) : std::int8_t{0};
      total += quants[i];
    }
    sums[first / sum_length] = static_cast<float>(total) * *scale;
  }
}

}  // namespace

WeightRows int8_rows(const GroupedRows& format) {
  if (format.bits == 4) return format.group == 16 ? rows_of<4, 2>(format) : rows_of<4, 1>(format);
  return format.group == 16 ? rows_of<8, 2>(format) : rows_of<8, 1>(format);
}

void quantise(const float* x, std::int64_t x_stride, std::int64_t k, const Int8Rows& to,
              std::int64_t first_row, std::int64_t n_rows) {
  const std::int64_t n_chunks = to.stride / chunk;
  const std::int64_t sums_each = chunk / to.sum_length;
  for (std::int64_t row = first_row; row < first_row + n_rows; ++row) {
    for (std::int64_t i = 0; i < n_chunks; ++i) {
      const float* from = x + row * x_stride + i * chunk;
      float filled[chunk] = {};
      if (i * chunk + chunk > k) {
        memcpy(filled, from, static_cast<std::size_t>(k - i * chunk) * sizeof(float));
        from = filled;
      }
      const std::int64_t at = row * n_chunks + i;
      quantise_chunk(from, to.sum_length, to.quants + at * chunk, to.scales + at, to.sums + at * sums_each);
    }
  }
}

}  // namespace galago::kernels::GALAGO_ISA
