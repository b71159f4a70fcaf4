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
  multiply_rows(*op.int8, part.row, part.n_rows, first, n_chunks, packed, sums);
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
