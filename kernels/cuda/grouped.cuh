// Grouped rows (src/tensor/weight_format.h) read on the device, an element or four neighbours at a time.
#pragma once

#include "kernels/cpu/kernels.h"
#include "kernels/cuda/primitives.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// A format as kernels get it: its codebook by value.
struct GroupedParams {
  GroupedRows rows;
  std::int64_t n_groups;
  float codebook[16];
};

inline GroupedParams grouped_params(const GroupedRows& rows, std::int64_t cols) {
  GroupedParams params{rows, (cols + rows.group - 1) / rows.group, {}};
  if (rows.codebook != nullptr) {
    for (int i = 0; i < 16; ++i) params.codebook[i] = rows.codebook[i];
  }
  return params;
}

/// w = scale * (q - zero) + minimum
struct GroupValues {
  float scale;
  float zero;
  float minimum;
};

__device__ __forceinline__ float scale_at(const Global<const std::uint8_t>& row, std::int64_t at,
                                          Element type, std::int64_t index) {
  return type == Element::f16 ? widen(memory_as<const Half>(row + at)[index])
                              : memory_as<const float>(row + at)[index];
}

__device__ __forceinline__ GroupValues group_values(const GroupedParams& format,
                                                    const Global<const std::uint8_t>& row,
                                                    std::int64_t element) {
  const GroupedRows& rows = format.rows;
  // Chunks are filled up beyond the last group.
  const std::int64_t asked = element / rows.group;
  const std::int64_t group = asked < format.n_groups ? asked : format.n_groups - 1;
  GroupValues values{scale_at(row, rows.scales_at, rows.scale, group), 0, 0};
  // Quants of 4 bits without offset are stored 8 higher.
  if (rows.offset == GroupOffset::none && rows.bits == 4 && rows.codebook == nullptr) values.zero = 8;
  if (rows.offset == GroupOffset::minimum) {
    values.minimum = scale_at(row, rows.offsets_at, rows.scale, group);
  } else if (rows.offset == GroupOffset::zero_point) {
    values.zero = static_cast<float>(memory_as<const std::int8_t>(row + rows.offsets_at)[group]);
  }
  return values;
}

__device__ __forceinline__ float quant_value(const GroupedParams& format, const GroupValues& group,
                                             int quant) {
  if (format.rows.codebook != nullptr) return group.scale * format.codebook[quant];
  return group.scale * (static_cast<float>(quant) - group.zero) + group.minimum;
}

__device__ __forceinline__ float grouped_element(const GroupedParams& format,
                                                 const Global<const std::uint8_t>& row,
                                                 std::int64_t element) {
  const GroupValues group = group_values(format, row, element);
  if (format.rows.bits == 8) {
    return quant_value(format, group, memory_as<const std::int8_t>(row)[element]);
  }
  const std::int64_t within = element % 32;
  const int byte = row[element / 32 * 16 + within % 16];
  return quant_value(format, group, within < 16 ? byte & 15 : byte >> 4);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
