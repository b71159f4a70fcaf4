// How a model asks for its weights: by canonical name and shape, before anyone has looked at what a file
// holds.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tensor/view.h"

namespace galago::model {

/// Parts of a model whose storage format is chosen apart. `embeddings`: of tokens, and the output layer where
/// both are one matrix; `adapter`: low-rank side branches.
enum class Part { tower, projector, decoder, embeddings, output, adapter };

/// One tensor of the checkpoint and the shape that the configuration gives it.
struct NamedShape {
  std::string name;
  Shape shape;
};

/// Gives weights their place in the weights region. In plan mode the place is counted and nothing is read.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// The named matrices one below the other, as one matrix in the storage format of their part. All have the
  /// same number of columns (dimensions after the first).
  virtual Weight matrix(Part part, std::span<const NamedShape> tensors) = 0;
  /// The named tensors one after the other, in FP32: norms, biases and embeddings that are added.
  virtual Weight vector(std::span<const NamedShape> tensors) = 0;
  /// Values that are computed, not read, in FP32.
  virtual Weight constant(std::span<const float> values) = 0;
  /// Values of `shape` that `make` computes from one tensor's, in FP32.
  using Make = std::function<void(std::span<const float> from, std::span<float> to)>;
  virtual Weight derived(const NamedShape& tensor, const Shape& shape, const Make& make) = 0;

  Weight matrix(Part part, NamedShape tensor) {
    return matrix(part, std::span<const NamedShape>(&tensor, 1));
  }
  Weight vector(NamedShape tensor) { return vector(std::span<const NamedShape>(&tensor, 1)); }
};

}  // namespace galago::model
