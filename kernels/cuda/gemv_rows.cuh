// Rows of weights as products with few rows of x read them: eight elements a lane at a time.
#pragma once

#include "kernels/cuda/grouped.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/quants.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// Rows of weights that a warp reads side by side: loads in flight, and uses of each x.
inline constexpr int weight_rows = 4;
/// Elements that a lane takes of a row at once, as two runs of four.
inline constexpr int unit_elements = 8;

struct Gemv {
  Linear op;
  GroupedParams grouped;
  std::int64_t row_bytes;
  int chunks_of_group_shift;  // a group is 32 << this many columns, where QuantRow reads it
  bool share_rows;            // a block's warps take parts of the same rows
  bool vector_x;              // rows of x begin at multiples of 16 bytes
};

/// Where a unit's two runs of four begin.
struct UnitPlace {
  std::int64_t first, second;
};

// A format loads units and widens them later, so that loads of several units are in flight. Its results are
// scale * sum(w x) + minimum * sum(x).

template <class T, bool aligned>
struct PlainRow {
  static constexpr int batch = 1;  // 16 bytes a load are enough in flight
  static constexpr bool has_scales = false;
  struct alignas(16) Raw {
    T values[unit_elements];
  };

  static __device__ __forceinline__ UnitPlace place(std::int64_t unit) {
    return {unit * unit_elements, unit * unit_elements + 4};
  }
  static __device__ __forceinline__ Raw load(const Gemv& params, const Global<const std::uint8_t>& bytes,
                                             std::int64_t unit) {
    const Global<const T> row = memory_as<const T>(bytes);
    const std::int64_t first = unit * unit_elements;
    Raw raw{};
    if constexpr (aligned && sizeof(T) == 4) {
      const auto low = load_vector<Float4>(row, first);
      const auto high = load_vector<Float4>(row, first + 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        raw.values[i] = low.values[i];
        raw.values[4 + i] = high.values[i];
      }
    } else if constexpr (aligned) {
      raw = load_vector<Raw>(row, first);
    } else {
#pragma unroll
      for (int i = 0; i < unit_elements; ++i) {
        if (first + i < params.op.k) raw.values[i] = row[first + i];
      }
    }
    return raw;
  }
  static __device__ __forceinline__ void widen_to(const Gemv& /*params*/, const Raw& raw,
                                                  float (&w)[unit_elements]) {
#pragma unroll
    for (int i = 0; i < unit_elements; ++i) w[i] = widen(raw.values[i]);
  }
  static __device__ __forceinline__ GroupValues scales(const Gemv& /*params*/, const Raw& /*raw*/) {
    return {1, 0, 0};
  }
};

/// Four bytes of a chunk of 4-bit quants hold four neighbours and the four 16 further on.
template <int bits>
__device__ __forceinline__ UnitPlace place_of_quants(std::int64_t unit) {
  if (bits == 8) return {unit * unit_elements, unit * unit_elements + 4};
  const std::int64_t first = unit / 4 * 32 + unit % 4 * 4;
  return {first, first + 16};
}

/// Grouped rows with FP16 scales and groups of 32 and more, no codebook: nearly all there are.
template <int bits>
struct QuantRow {
  static constexpr int batch = 4;
  static constexpr bool has_scales = true;
  struct Raw {
    std::uint32_t quants[bits / 4];
    GroupWord group;
  };

  static __device__ __forceinline__ UnitPlace place(std::int64_t unit) { return place_of_quants<bits>(unit); }
  static __device__ __forceinline__ Raw load(const Gemv& params, const Global<const std::uint8_t>& bytes,
                                             std::int64_t unit) {
    Raw raw;
    if constexpr (bits == 8) {
      const auto words = load_vector<Words2>(bytes, unit * unit_elements);
      raw.quants[0] = words.words[0];
      raw.quants[1] = words.words[1];
    } else {
      raw.quants[0] = load_vector<std::uint32_t>(bytes, unit * 4);
    }
    const GroupedRows& rows = params.grouped.rows;
    raw.group =
        group_word({rows.scales_at, rows.offsets_at, static_cast<int>(params.grouped.n_groups), rows.offset},
                   bytes, static_cast<int>(unit / 4) >> params.chunks_of_group_shift);
    return raw;
  }
  static __device__ __forceinline__ void widen_to(const Gemv& params, const Raw& raw,
                                                  float (&w)[unit_elements]) {
    const Words2 bytes = unsigned_bytes<bits>(raw.quants);
    const auto zero = static_cast<float>(zero_byte<bits>(params.grouped.rows.offset, raw.group));
    bytes_to_floats(bytes.words[0], zero, w);
    bytes_to_floats(bytes.words[1], zero, w + 4);
  }
  static __device__ __forceinline__ GroupValues scales(const Gemv& params, const Raw& raw) {
    const bool has_minimum = params.grouped.rows.offset == GroupOffset::minimum;
    return {raw.group.scale(), 0, has_minimum ? raw.group.minimum() : 0.0F};
  }
};

/// Any grouped rows.
template <int bits>
struct GroupedRow {
  static constexpr int batch = 1;
  static constexpr bool has_scales = false;
  struct Raw {
    float values[unit_elements];
  };

  static __device__ __forceinline__ UnitPlace place(std::int64_t unit) { return place_of_quants<bits>(unit); }
  static __device__ __forceinline__ Raw load(const Gemv& params, const Global<const std::uint8_t>& bytes,
                                             std::int64_t unit) {
    const UnitPlace at = place(unit);
    const GroupValues low = group_values(params.grouped, bytes, at.first);
    const GroupValues high =
        bits == 8 || params.grouped.rows.group > 16 ? low : group_values(params.grouped, bytes, at.second);
    Raw raw;
    if constexpr (bits == 8) {
      struct alignas(8) Eight {
        std::int8_t quants[unit_elements];
      };
      const auto eight = load_vector<Eight>(bytes, unit * unit_elements);
#pragma unroll
      for (int i = 0; i < unit_elements; ++i)
        raw.values[i] = quant_value(params.grouped, low, eight.quants[i]);
    } else {
      const auto word = load_vector<std::uint32_t>(bytes, unit * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        raw.values[i] = quant_value(params.grouped, low, static_cast<int>(word >> 8 * i & 15U));
        raw.values[4 + i] = quant_value(params.grouped, high, static_cast<int>(word >> (8 * i + 4) & 15U));
      }
    }
    return raw;
  }
  static __device__ __forceinline__ void widen_to(const Gemv& /*params*/, const Raw& raw,
                                                  float (&w)[unit_elements]) {
#pragma unroll
    for (int i = 0; i < unit_elements; ++i) w[i] = raw.values[i];
  }
  static __device__ __forceinline__ GroupValues scales(const Gemv& /*params*/, const Raw& /*raw*/) {
    return {1, 0, 0};
  }
};

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
