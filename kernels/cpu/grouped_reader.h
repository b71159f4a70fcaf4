// Grouped weights as they are read: a chunk of a row at once, and the code for each format.
#pragma once

#include "kernels/cpu/group_numbers.h"
#include "kernels/cpu/weight_rows.h"

namespace galago::kernels::GALAGO_ISA {

inline constexpr std::int64_t chunk = 32;
inline constexpr int chunk_vectors = chunk / width;
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
struct GroupedReader {
  const GroupedRows& format;
  std::int64_t k;
  int shift;  // a chunk's group is chunk >> shift

  static constexpr int part_vectors = chunk_vectors / parts;

  GroupedReader(const GroupedRows& grouped, std::int64_t columns)
      : format(grouped),
        k(columns),
        shift(grouped.group == 128  ? 2
              : grouped.group == 64 ? 1
                                    : 0) {}

  /// to [chunk_vectors] = a chunk of a row, dequantised.
  void read_chunk(const std::uint8_t* row, std::int64_t index, Vec* to) const {
    for (int part = 0; part < parts; ++part) {
      const int begin = part * part_vectors;
      const std::int64_t at = parts == 2 ? 2 * index + part : index >> shift;
      if (parts == 2 && at * format.group >= k) {
        // The last chunk ends before its second group begins.
        for (int i = begin; i < begin + part_vectors; ++i) to[i] = set1(0);
        break;
      }
      const Group group = group_at<offset>(format, row, at);
      Vec values[chunk_vectors];
      Quants::template read<offset>(format, row + index * Quants::chunk_bytes, group.zero, values);
      for (int i = begin; i < begin + part_vectors; ++i) {
        to[i] = mul(set1(group.scale), values[i]);
        if constexpr (offset == GroupOffset::minimum) to[i] = add(to[i], set1(group.minimum));
      }
    }
  }
};

template <class Quants, GroupOffset offset, class Use>
auto with_parts(const GroupedRows& format, Use&& use) {
  return format.group == 16 ? use.template operator()<Quants, offset, 2>()
                            : use.template operator()<Quants, offset, 1>();
}

template <class Quants, class Use>
auto with_offset(const GroupedRows& format, Use&& use) {
  switch (format.offset) {
    case GroupOffset::none:
      return with_parts<Quants, GroupOffset::none>(format, use);
    case GroupOffset::minimum:
      return with_parts<Quants, GroupOffset::minimum>(format, use);
    case GroupOffset::zero_point:
      break;
  }
  return with_parts<Quants, GroupOffset::zero_point>(format, use);
}

/// What use.operator()<Quants, offset, parts>() gives for the format's own.
template <class Use>
auto with_format(const GroupedRows& format, Use&& use) {
  if (format.codebook != nullptr) return with_parts<TableNibbles, GroupOffset::none>(format, use);
  return format.bits == 4 ? with_offset<Nibbles>(format, use) : with_offset<SignedBytes>(format, use);
}

}  // namespace galago::kernels::GALAGO_ISA
