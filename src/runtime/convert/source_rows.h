// The rows of a checkpoint's tensors one at a time: as FP32, whatever they are stored in, or packed as they
// are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace galago::runtime {

/// A vector counts as a matrix of one column.
class SourceRows {
 public:
  /// Both outlive this.
  SourceRows(const checkpoint::Checkpoint& checkpoint, const checkpoint::TensorSource& source);

  std::int64_t count() const { return static_cast<std::int64_t>(rows_.size()); }
  std::int64_t cols() const { return cols_; }
  /// Row `index` of the canonical tensor; `to` has cols() elements.
  void read(std::int64_t index, std::span<float> to) const;
  /// The same row as a record of the source's format, where that is a grouped packing.
  void read_record(std::int64_t index, std::span<std::byte> to) const;

 private:
  const checkpoint::TensorSource& source_;
  std::int64_t cols_;
  std::vector<std::int64_t> rows_;  // of the stored tensor
  std::vector<std::span<const std::byte>> parts_;
};

}  // namespace galago::runtime
