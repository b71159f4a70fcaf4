// Rows of grouped weights, dequantised on the fly. Activations and sums are FP32.
#include "kernels/cpu/group_numbers.h"
#include "kernels/cpu/weight_rows.h"

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t chunk = 32;
constexpr int chunk_vectors = chunk / width;
static_assert(depth_block % chunk == 0);

/// Scale, and what is added, of one group.
struct Group {
  float scale;
  int zero;
  float minimum;
};

template <GroupOffset offset>
Group group_at(const GroupedRows& format, const std::uint8_t* row, std::int64_t index) {
  Group group{number_at(row + format.scales_at, format.scale, index), 0, 0};
  if constexpr (offset == GroupOffset::minimum) {
    group.minimum = number_at(row + format.offsets_at, format.scale, index);
  } else if constexpr (offset == GroupOffset::zero_point) {
    const int stored = row[format.offsets_at + index];
    group.zero = (stored ^ 0x80) - 0x80;  // it is a signed byte
  }
  return group;
}

/// Quants of 4 bits. `read` gives a chunk of q - zero; without offset 8 is the zero.
struct Nibbles {
  static constexpr std::int64_t chunk_bytes = 16;
  template <GroupOffset offset>
  static void read(const GroupedRows& /*format*/, const std::uint8_t* p, int zero, Vec* to) {
    load_nibbles(p, offset == GroupOffset::none ? 8 : zero, to);
  }
};

/// Indices of 4 bits into a table.
struct TableNibbles {
  static constexpr std::int64_t chunk_bytes = 16;
  template <GroupOffset offset>
  static void read(const GroupedRows& format, const std::uint8_t* p, int /*zero*/, Vec* to) {
    look_up_nibbles(p, format.codebook, to);
  }
};

struct SignedBytes {
  static constexpr std::int64_t chunk_bytes = 32;
  template <GroupOffset offset>
  static void read(const GroupedRows& /*format*/, const std::uint8_t* p, int zero, Vec* to) {
    load_bytes(p, to);
    if constexpr (offset == GroupOffset::zero_point) {
      for (int i = 0; i < chunk_vectors; ++i) to[i] = sub(to[i], set1(static_cast<float>(zero)));
    }
  }
};

/// Weight rows in one format; `parts` is how many groups share a chunk: 2 where groups are of 16, else 1.
template <class Quants, GroupOffset offset, int parts>
struct RowsOf {
  const GroupedRows& format;
  std::int64_t k;
  int shift;  // a chunk's group is chunk >> shift

  static constexpr int part_vectors = chunk_vectors / parts;

  RowsOf(const GroupedRows& grouped, std::int64_t columns)
      : format(grouped),
        k(columns),
        shift(grouped.group == 128  ? 2
              : grouped.group == 64 ? 1
                                    : 0) {}

  const std::uint8_t* at(const void* weights, std::int64_t row) const {
    return static_cast<const std::uint8_t*>(weights) + row * format.row_bytes;
  }

  /// to [32] = a chunk of a row, dequantised.
  void decode_chunk(const std::uint8_t* row, std::int64_t index, float* to) const {
    for (int part = 0; part < parts; ++part) {
      const std::int64_t at = parts == 2 ? 2 * index + part : index >> shift;
      // The last chunk may end before its second group begins.
      if (parts == 2 && at * format.group >= k) break;
      const Group group = group_at<offset>(format, row, at);
      Vec values[chunk_vectors];
      Quants::template read<offset>(format, row + index * Quants::chunk_bytes, group.zero, values);
      for (int i = part * part_vectors; i < (part + 1) * part_vectors; ++i) {
        Vec value = mul(set1(group.scale), values[i]);
        if constexpr (offset == GroupOffset::minimum) value = add(value, set1(group.minimum));
        store(to + i * width, value);
      }
    }
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

template <class Quants, GroupOffset offset>
RowFunctions with_parts(const GroupedRows& format) {
  return format.group == 16 ? functions_of<RowsOf<Quants, offset, 2>>()
                            : functions_of<RowsOf<Quants, offset, 1>>();
}

template <class Quants>
RowFunctions with_offset(const GroupedRows& format) {
  switch (format.offset) {
    case GroupOffset::none:
      return with_parts<Quants, GroupOffset::none>(format);
    case GroupOffset::minimum:
      return with_parts<Quants, GroupOffset::minimum>(format);
    case GroupOffset::zero_point:
      break;
  }
  return with_parts<Quants, GroupOffset::zero_point>(format);
}

RowFunctions functions_for(const GroupedRows& format) {
  if (format.codebook != nullptr) return with_parts<TableNibbles, GroupOffset::none>(format);
  return format.bits == 4 ? with_offset<Nibbles>(format) : with_offset<SignedBytes>(format);
}

}  // namespace

WeightRows grouped_rows(const GroupedRows& format) {
  return functions_for(format).products;
}

void decode(const GroupedRows& format, const void* row, float* to, std::int64_t n) {
  functions_for(format).decode(format, static_cast<const std::uint8_t*>(row), to, n);
}

}  // namespace galago::kernels::GALAGO_ISA
