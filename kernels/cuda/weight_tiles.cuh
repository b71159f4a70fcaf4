// Weights in tiles of shared memory, packed as they are stored, and how a lane makes its fragments of them.
#pragma once

#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/linear_end.cuh"
#include "kernels/cuda/quants.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// Columns of weights in one tile: two chunks of 32.
inline constexpr int step_columns = 64;

/// Rows as they lie in memory.
struct WeightRows {
  std::int64_t row_bytes, data_bytes;  // from row to row; of quants, or of numbers
  GroupPlaces groups;
  int group_shift;  // a group is 2 ^ group_shift columns
};

inline WeightRows weight_rows_of(const Linear& op) {
  if (op.grouped == nullptr) return {op.k * 2, op.k * 2, {}, 0};
  const GroupedRows& rows = *op.grouped;
  int shift = 0;
  while (1 << shift < rows.group) ++shift;
  return {
      rows.row_bytes,
      (op.k + 31) / 32 * 32 * rows.bits / 8,
      {rows.scales_at, rows.offsets_at, static_cast<int>((op.k + rows.group - 1) / rows.group), rows.offset},
      shift};
}

template <class T>
struct PlainTile {
  using Number = T;
  static constexpr int step_bytes = step_columns * 2;
  static constexpr int stride = step_bytes + 32;  // four rows read by half a warp lie in different banks
  static constexpr int stages = 3;
  struct Groups {};

  static __device__ __forceinline__ Groups groups(const WeightRows& /*rows*/,
                                                  const Global<const std::uint8_t>& /*row*/, int /*step*/) {
    return {};
  }
  /// Columns 4 t to 4 t + 3 of both halves of a chunk.
  static __device__ __forceinline__ void fragments(const WeightRows& /*rows*/,
                                                   const Shared<std::uint8_t>& row, int chunk,
                                                   const Groups& /*groups*/, FragmentB (&to)[2]) {
    const int t = static_cast<int>(lane_index()) % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto four = load_vector<Words2>(row, (chunk * 32 + half * 16 + t * 4) * 2);
      to[half] = {{four.words[0], four.words[1]}};
    }
  }
};

template <int bits>
struct QuantTile {
  using Number = Half;
  static constexpr int step_bytes = step_columns * bits / 8;
  static constexpr int stride = step_bytes + 16;  // eight rows that a warp reads lie in different banks
  static constexpr int stages = 4;
  /// One a chunk, read a step ahead.
  struct Groups {
    GroupWord words[step_columns / 32];
  };

  static __device__ __forceinline__ Groups groups(const WeightRows& rows,
                                                  const Global<const std::uint8_t>& row, int step) {
    Groups groups;
#pragma unroll
    for (int chunk = 0; chunk < step_columns / 32; ++chunk) {
      groups.words[chunk] =
          group_word(rows.groups, row, (step * step_columns + chunk * 32) >> rows.group_shift);
    }
    return groups;
  }

  static __device__ __forceinline__ void fragments(const WeightRows& rows, const Shared<std::uint8_t>& row,
                                                   int chunk, const Groups& groups, FragmentB (&to)[2]) {
    const int t = static_cast<int>(lane_index()) % 4;
    std::uint32_t quants[bits / 4];
#pragma unroll
    for (int i = 0; i < bits / 4; ++i) {
      quants[i] = load_vector<std::uint32_t>(row, chunk * 4 * bits + i * 16 + t * 4);
    }
    const Words2 bytes = unsigned_bytes<bits>(quants);  // of either half of the chunk
    const PairScale by = pair_scale<bits>(rows.groups.offset, groups.words[chunk]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Words2 four = scale_bytes(bytes.words[half], by);
      to[half] = {{four.words[0], four.words[1]}};
    }
  }
};

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
