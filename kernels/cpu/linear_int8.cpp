// Grouped weights times activations in int8: whole numbers are multiplied and summed within a group, and only
// the sums are scaled. With w = scale * q + offset, a group adds scale * scale_x * sum(q x) + offset *
// sum(x).
#include <math.h>
#include <string.h>

#if defined(GALAGO_AMX)
#include "kernels/cpu/int8_amx.h"
#else
#include "kernels/cpu/int8_rows.h"
#endif

namespace galago::kernels::GALAGO_ISA {
namespace {

template <int bits>
struct ChunkOf {
  using Type = NibbleChunk;
};
template <>
struct ChunkOf<8> {
  using Type = ByteChunk;
};

/// A row of x: quants, and for each part the scale and the sum.
struct Int8Row {
  const std::int8_t* quants;
  const float* scales;
  const float* sums;

  Int8Row() = default;
  Int8Row(const Int8Rows& x, std::int64_t row)
      : quants(x.quants + row * x.stride),
        scales(x.scales + row * (x.stride / chunk)),
        sums(x.sums + row * (x.stride / x.sum_length)) {}
};

/// What the groups of eight chunks add to each of their weights.
template <GroupOffset offset, int shift>
GALAGO_INLINE Dot eight_offsets(const GroupedRows& format, const std::uint8_t* w, std::int64_t first,
                                Dot scales) {
  const std::uint8_t* at = w + format.offsets_at;
  if constexpr (offset == GroupOffset::minimum) return eight_halves<shift>(at + 2 * (first >> shift));
  if constexpr (offset == GroupOffset::zero_point)
    return mul(mul(scales, splat(-1)), eight_bytes<shift>(at + (first >> shift)));
  return mul(scales, splat(-middle(4)));
}

/// x times parts [first, end) of n weight rows, `stride` bytes from one to the next, added to results [n].
template <int bits, int parts, int n>
void add_parts(const Linear& op, const std::uint8_t* rows, std::int64_t stride, const Int8Row& x,
               std::int64_t first, std::int64_t end, float* results) {
  using Chunk = typename ChunkOf<bits>::Type;
  const GroupValues<bits, parts> values(*op.grouped);
  Dot sums[n];
  for (int j = 0; j < n; ++j) sums[j] = zero_dot();
  for (; first < end; first += block_chunks * parts) {
    const std::int64_t count = end - first < block_chunks * parts ? end - first : block_chunks * parts;
    float scales[n][block_chunks * parts + 1];
    for (int j = 0; j < n; ++j) {
      results[j] += values.prepare(rows + j * stride, first, count, x.scales + first / parts, x.sums + first,
                                   scales[j]);
      scales[j][count] = 0;  // of the half chunk that is missing
    }
    for (std::int64_t i = 0; i < count; i += parts) {
      const std::int64_t at = (first + i) / parts;
      for (int j = 0; j < n; ++j) {
        const std::uint8_t* from = rows + j * stride + at * Chunk::bytes;
        fetch_behind<Chunk::bytes + 4>(from);
        const auto products = Chunk::products(from, x.quants + at * chunk);
        sums[j] = parts == 2 ? add_scaled(products, scales[j][i], scales[j][i + parts - 1], sums[j])
                             : add_scaled(products, scales[j][i], sums[j]);
      }
    }
  }
  for (int j = 0; j < n; ++j) results[j] += sum(sums[j]);
}

/// sums [n_columns] = row `row` of x times weight rows, n at once from n places: processors read further
/// ahead where there are two streams, and lose count where there are many.
template <int bits, int parts>
void dot(const Linear& op, const void* weights, std::int64_t row, std::int64_t column, std::int64_t n_columns,
         float* sums) {
  const std::int64_t row_bytes = op.grouped->row_bytes;
  const auto* w = static_cast<const std::uint8_t*>(weights) + column * row_bytes;
  const std::int64_t half = n_columns / 2;
  const std::int64_t end = parts_of<parts>(op.k);
  for (std::int64_t j = 0; j < half; ++j) {
    float two[2] = {};
    for (std::int32_t term = 0; term < op.n_int8; ++term) {
      add_parts<bits, parts, 2>(op, w + j * row_bytes, half * row_bytes, Int8Row(op.int8[term], row), 0, end,
                                two);
    }
    sums[j] = two[0];
    sums[half + j] = two[1];
  }
  if (n_columns % 2 == 0) return;
  float* const last = sums + n_columns - 1;
  *last = 0;
  for (std::int32_t term = 0; term < op.n_int8; ++term) {
    add_parts<bits, parts, 1>(op, w + (n_columns - 1) * row_bytes, 0, Int8Row(op.int8[term], row), 0, end,
                              last);
  }
}

/// sums [n] += n terms of a row of x times the whole eights among the n_chunks of a row of quants of 4 bits;
/// how many chunks those are
template <GroupOffset offset, int shift, int n>
GALAGO_INLINE std::int64_t add_eights(const GroupedRows& format, const std::uint8_t* w, const Int8Row* x,
                                      std::int64_t n_chunks, Dot* sums) {
  std::int64_t i = 0;
  for (; i + 8 <= n_chunks; i += 8) {
    const std::uint8_t* quants = w + i * NibbleChunk::bytes;
    fetch_behind<8 * NibbleChunk::bytes>(quants);
    fetch_behind<16>(w + format.scales_at + 2 * (i >> shift));
    const Dot scales = eight_halves<shift>(w + format.scales_at + 2 * (i >> shift));
    const Dot offsets = eight_offsets<offset, shift>(format, w, i, scales);
    Dot products[n];
    const std::int8_t* left[n];
    for (int term = 0; term < n; ++term) left[term] = x[term].quants + i * chunk;
    sums_of_eight<n>(quants, left, products);
    for (int term = 0; term < n; ++term) {
      sums[term] = fma(mul(scales, load_eight(x[term].scales + i)), products[term], sums[term]);
      sums[term] = fma(offsets, load_eight(x[term].sums + i), sums[term]);
    }
  }
  return i;
}

/// sums [n_columns] = row `row` of x, in n terms, times weight rows. They are read from two places in turns,
/// each one row after the other: processors read further ahead where there are two streams, and lose count
/// where there are many.
template <GroupOffset offset, int shift, int n>
void sum_eights(const Linear& op, const std::uint8_t* w, std::int64_t row, std::int64_t n_columns,
                float* sums) {
  const std::int64_t n_chunks = parts_of<1>(op.k);
  Int8Row x[n];
  for (int term = 0; term < n; ++term) x[term] = Int8Row(op.int8[term], row);
  const auto sum_row = [&](std::int64_t j) {
    const std::uint8_t* from = w + j * op.grouped->row_bytes;
    Dot eights[n];
    for (Dot& dot : eights) dot = zero_dot();
    const std::int64_t done = add_eights<offset, shift, n>(*op.grouped, from, x, op.k / chunk, eights);
    float total = 0;
    for (int term = 0; term < n; ++term) {
      total += sum(eights[term]);
      if (done < n_chunks) add_parts<4, 1, 1>(op, from, 0, x[term], done, n_chunks, &total);
    }
    sums[j] = total;
  };
  const std::int64_t half = n_columns / 2;
  for (std::int64_t j = 0; j < half; ++j) {
    sum_row(j);
    sum_row(half + j);
  }
  if (n_columns % 2 != 0) sum_row(n_columns - 1);
}

using SumEights = void (*)(const Linear& op, const std::uint8_t* w, std::int64_t row, std::int64_t n_columns,
                           float* sums);

template <GroupOffset offset, int n>
SumEights sum_eights_of(std::int32_t group) {
  if (group == 128) return sum_eights<offset, 2, n>;
  return group == 64 ? sum_eights<offset, 1, n> : sum_eights<offset, 0, n>;
}

template <int n>
SumEights sum_eights_of(const GroupedRows& format) {
  switch (format.offset) {
    case GroupOffset::minimum:
      return sum_eights_of<GroupOffset::minimum, n>(format.group);
    case GroupOffset::zero_point:
      return sum_eights_of<GroupOffset::zero_point, n>(format.group);
    case GroupOffset::none:
      break;
  }
  return sum_eights_of<GroupOffset::none, n>(format.group);
}

void dot_in_eights(const Linear& op, const void* weights, std::int64_t row, std::int64_t column,
                   std::int64_t n_columns, float* sums) {
  static_assert(max_int8_terms == 3);
  const SumEights sum_eights = op.n_int8 == 3   ? sum_eights_of<3>(*op.grouped)
                               : op.n_int8 == 2 ? sum_eights_of<2>(*op.grouped)
                                                : sum_eights_of<1>(*op.grouped);
  sum_eights(op, static_cast<const std::uint8_t*>(weights) + column * op.grouped->row_bytes, row, n_columns,
             sums);
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
  for (std::int32_t term = 0; term < op.n_int8; ++term) {
    multiply_rows(op.int8[term], part.row, part.n_rows, first, n_chunks, packed, sums);
  }
}

template <int bits, int parts>
WeightRows rows_of(const GroupedRows& format) {
  if constexpr (bits == 4 && parts == 1) {
    if (reads_in_eights(format)) return {multiply<bits, parts>, dot_in_eights};
  }
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

/// Where a chunk of a row is written to.
struct Int8Chunk {
  std::int8_t* halves[2];
  float* scale;
  float* sums;  // [chunk / sum_length]

  Int8Chunk(const Int8Rows& rows, std::int64_t row, std::int64_t i, bool paired)
      : scale(rows.scales + row * (rows.stride / chunk) + i),
        sums(rows.sums + (row * rows.stride + i * chunk) / rows.sum_length) {
    std::int8_t* const quants = rows.quants + row * rows.stride + i * chunk;
    halves[0] = paired ? quants - i % 2 * (chunk / 2) : quants;
    halves[1] = halves[0] + (paired ? chunk : chunk / 2);
  }
};

/// A chunk of x to int8; x: what the rounding has left of it.
void quantise_chunk(float* x, std::int64_t sum_length, const Int8Chunk& to) {
  const float largest = magnitude(x);
  // A broken model must not look like a working one: what is not finite makes results that are not.
  const bool finite = largest >= 0 && largest < INFINITY;
  *to.scale = finite ? largest / 127 : NAN;
  const Vec scale = set1(-*to.scale);
  const Vec inverse = set1(finite && largest > 1e-30F ? 127 / largest : 0);
  float rounded[chunk];
  for (int i = 0; i < chunk; i += width) {
    const Vec value = load(x + i);
    const Vec quants = round(mul(value, inverse));
    store(rounded + i, quants);
    store(x + i, fma(scale, quants, value));
  }
  for (std::int64_t first = 0; first < chunk; first += sum_length) {
    std::int32_t total = 0;
    for (std::int64_t i = first; i < first + sum_length; ++i) {
      const std::int8_t quant = finite ? static_cast<std::int8_t>(rounded[i]) : std::int8_t{0};
      to.halves[i / (chunk / 2)][i % (chunk / 2)] = quant;
      total += quant;
    }
    to.sums[first / sum_length] = static_cast<float>(total) * *to.scale;
  }
}

}  // namespace

WeightRows int8_rows(const GroupedRows& format) {
  if (format.bits == 4) return format.group == 16 ? rows_of<4, 2>(format) : rows_of<4, 1>(format);
  return format.group == 16 ? rows_of<8, 2>(format) : rows_of<8, 1>(format);
}

void quantise(const float* x, std::int64_t x_stride, std::int64_t k, const Int8Rows* terms,
              std::int32_t n_terms, std::int64_t first_row, std::int64_t n_rows) {
  const std::int64_t n_paired = terms->paired ? k / (8 * chunk) * 8 : 0;
  for (std::int64_t row = first_row; row < first_row + n_rows; ++row) {
    for (std::int64_t i = 0; i < terms->stride / chunk; ++i) {
      const std::int64_t count = k - i * chunk < chunk ? k - i * chunk : chunk;
      float left[chunk] = {};
      memcpy(left, x + row * x_stride + i * chunk, static_cast<std::size_t>(count) * sizeof(float));
      for (std::int32_t term = 0; term < n_terms; ++term) {
        quantise_chunk(left, terms[term].sum_length, {terms[term], row, i, i < n_paired});
      }
    }
  }
}

}  // namespace galago::kernels::GALAGO_ISA
