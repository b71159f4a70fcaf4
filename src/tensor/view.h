// Views of memory that someone else owns: typed matrices for activations, untyped ones for weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/weight_format.h"

namespace galago {

/// Rows of FP32 activations, [rows, cols], `stride` elements from one row to the next. In plan mode `data` is
/// null.
struct Matrix {
  float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;

  float* row(std::int64_t i) const { return data + i * stride; }

  /// Rows [first, first + count) of this matrix.
  Matrix slice_rows(std::int64_t first, std::int64_t count) const {
    return {data ? data + first * stride : nullptr, count, cols, stride};
  }
  /// Columns [first, first + count) of this matrix.
  Matrix slice_cols(std::int64_t first, std::int64_t count) const {
    return {data ? data + first : nullptr, rows, count, stride};
  }
};

/// One weight tensor in the weights region, row after row, in its storage format. In plan mode `data` is
/// null.
struct Weight {
  const void* data = nullptr;
  WeightFormat format;
  Shape shape;

  bool present() const { return shape.rank() != 0; }
  std::int64_t rows() const { return shape[0]; }
  /// Elements per row: the product of all dimensions but the first.
  std::int64_t cols() const { return shape.elements() / shape[0]; }
  Bytes bytes() const { return present() ? static_cast<Bytes>(rows()) * format.row_bytes(cols()) : 0; }
};

}  // namespace galago
