// Where a canonical tensor's values lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "checkpoint/packing.h"
#include "checkpoint/safetensors.h"
#include "tensor/block_groups.h"
#include "tensor/shape.h"

namespace galago::checkpoint {

/// Rows first, first + step, first + 2 step, ... of a stored tensor.
struct RowRun {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t step = 1;
};

/// In place of a file's index: the values are invented (checkpoint/shapes.h).
inline constexpr std::size_t no_file = static_cast<std::size_t>(-1);

/// A canonical tensor made of rows of a stored one.
struct TensorSource {
  std::size_t file = 0;  ///< index into Checkpoint::files, or no_file
  TensorEntry entry;     ///< the stored tensor
  Shape shape;           ///< of the canonical tensor
  /// Its rows in their order, shape[0] in all, each within the stored tensor; empty: the stored tensor as it
  /// is.
  std::vector<RowRun> rows;
  /// What the stored matrix is made of, where it is not one tensor of plain numbers; null: it is. `entry`
  /// then has the plain matrix's name and shape, and the bytes of all parts.
  std::shared_ptr<const Packing> packing{};

  /// What its rows are in memory when nothing else is asked for.
  WeightFormat format() const {
    if (packing) return packing->format;
    return entry.block && shape.rank() == 2 ? WeightFormat(groups_of(*entry.block)) : entry.dtype;
  }
};

}  // namespace galago::checkpoint
