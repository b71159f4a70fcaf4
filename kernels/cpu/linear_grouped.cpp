// Rows of grouped weights, dequantised on the fly. Activations and sums are FP32.
#include "kernels/cpu/grouped_reader.h"

namespace galago::kernels::GALAGO_ISA {
namespace {

/// Products with weight rows in one format.
template <class Quants, GroupOffset offset, int parts>
struct RowsOf : GroupedReader<Quants, offset, parts> {
  using Reader = GroupedReader<Quants, offset, parts>;
  using Reader::format;
  using Reader::k;
  using Reader::part_vectors;
  using Reader::Reader;
  using Reader::shift;

  const std::uint8_t* at(const void* weights, std::int64_t row) const {
    return static_cast<const std::uint8_t*>(weights) + row * format.row_bytes;
  }

  /// to [32] = a chunk of a row, dequantised.
  void decode_chunk(const std::uint8_t* row, std::int64_t index, float* to) const {
    Vec values[chunk_vectors];
    Reader::read_chunk(row, index, values);
    for (int i = 0; i < chunk_vectors; ++i) store(to + i * width, values[i]);
  }

  void pack(const void* weights, std::int64_t row, std::int64_t n_rows, std::int64_t first,
            std::int64_t depth, float* to) const {
    for (std::int64_t j = 0; j < panel; ++j) {
      if (j >= n_rows) {
        for (std::int64_t d = 0; d < depth; ++d) to[d * panel + j] = 0;
        continue;
      }
      const std::uint8_t* from = at(weights, row + j);
      for (std::int64_t d = 0; d < depth; d += chunk) {
        float wide[chunk];
        decode_chunk(from, (first + d) / chunk, wide);
        const std::int64_t count = depth - d < chunk ? depth - d : chunk;
        for (std::int64_t i = 0; i < count; ++i) to[(d + i) * panel + j] = wide[i];
      }
    }
  }

  /// Adds a chunk of n rows times x to their sums.
  template <int n>
  void add_chunk(const std::uint8_t* rows, std::int64_t index, const float* x, Vec* sums) const {
    Vec values[chunk_vectors];
    for (int i = 0; i < chunk_vectors; ++i) values[i] = load(x + i * width);
    for (int part = 0; part < parts; ++part) {
      const int begin = part * part_vectors;
      const std::int64_t at = parts == 2 ? 2 * index + part : index >> shift;
      if (parts == 2 && at * format.group >= k) break;
      Vec total = values[begin];
      for (int i = begin + 1; i < begin + part_vectors; ++i) total = add(total, values[i]);
      for (int j = 0; j < n; ++j) {
        const std::uint8_t* row = rows + j * format.row_bytes;
        const Group group = group_at<offset>(format, row, at);
        Vec quants[chunk_vectors];
        Quants::template read<offset>(format, row + index * Quants::chunk_bytes, group.zero, quants);
        Vec products = mul(quants[begin], values[begin]);
        for (int i = begin + 1; i < begin + part_vectors; ++i) {
          products = fma(quants[i], values[i], products);
        }
        sums[j] = fma(set1(group.scale), products, sums[j]);
        if constexpr (offset == GroupOffset::minimum) sums[j] = fma(set1(group.minimum), total, sums[j]);
      }
    }
  }

  template <int n>
  void dot_rows(const std::uint8_t* rows, const float* x, float* results) const {
    Vec sums[n];
    for (Vec& value : sums) value = set1(0);
    const std::int64_t n_whole = k / chunk;
    // The rows after these n lie behind them: as much of them is fetched at each chunk as is read.
    const std::uint8_t* next = rows + n * format.row_bytes;
    const std::int64_t step = n_whole > 0 ? n * format.row_bytes / n_whole : 0;
    for (std::int64_t i = 0; i < n_whole; ++i) {
      prefetch<n*(Quants::chunk_bytes + 4)>(next + i * step);
      add_chunk<n>(rows, i, x + i * chunk, sums);
    }
    if (k % chunk != 0) {
      float tail[chunk] = {};
      for (std::int64_t i = 0; i < k % chunk; ++i) tail[i] = x[n_whole * chunk + i];
      add_chunk<n>(rows, n_whole, tail, sums);
    }
    for (int j = 0; j < n; ++j) results[j] = sum(sums[j]);
  }

  void dot(const void* weights, const float* x, std::int64_t row, std::int64_t n_rows, float* sums) const {
    const std::uint8_t* w = at(weights, row);
    std::int64_t j = 0;
    for (; j + 4 <= n_rows; j += 4) dot_rows<4>(w + j * format.row_bytes, x, sums + j);
    for (; j < n_rows; ++j) dot_rows<1>(w + j * format.row_bytes, x, sums + j);
  }
};

/// What can be done with the rows of one format.
struct RowFunctions {
  WeightRows products;
  void (*decode)(const GroupedRows& format, const std::uint8_t* row, float* to, std::int64_t n);
};

template <class Rows>
RowFunctions functions_of() {
  return {
      {[](const Linear& op, const void* weights, const PanelPart& part, float* packed, float* sums) {
         Rows(*op.grouped, op.k).pack(weights, part.column, part.n_columns, part.first, part.depth, packed);
         multiply_panel(op, part, packed, sums);
       },
       [](const Linear& op, const void* weights, std::int64_t row, std::int64_t column,
          std::int64_t n_columns, float* sums) {
         Rows(*op.grouped, op.k).dot(weights, op.x + row * op.x_stride, column, n_columns, sums);
       }},
      [](const GroupedRows& format, const std::uint8_t* row, float* to, std::int64_t n) {
        const Rows rows(format, n);
        std::int64_t i = 0;
        for (; i + chunk <= n; i += chunk) rows.decode_chunk(row, i / chunk, to + i);
        if (i == n) return;
        float wide[chunk];
        rows.decode_chunk(row, i / chunk, wide);
        for (std::int64_t j = 0; i + j < n; ++j) to[i + j] = wide[j];
      }};
}

RowFunctions functions_for(const GroupedRows& format) {
  return with_format(format, []<class Quants, GroupOffset offset, int parts>() {
    return functions_of<RowsOf<Quants, offset, parts>>();
  });
}

}  // namespace

WeightRows grouped_rows(const GroupedRows& format) {
  return functions_for(format).products;
}

void decode(const GroupedRows& format, const void* row, float* to, std::int64_t n) {
  functions_for(format).decode(format, static_cast<const std::uint8_t*>(row), to, n);
}

}  // namespace galago::kernels::GALAGO_ISA
