// Which weights a network asks for, written down without reading any.
#pragma once

#include <map>
#include <span>
#include <string>

#include "model/weights.h"

namespace galago::runtime {

class AskedWeights : public model::WeightSource {
 public:
  Weight matrix(model::Part /*part*/, std::span<const model::NamedShape> tensors) override {
    return note(tensors);
  }
  Weight vector(std::span<const model::NamedShape> tensors) override { return note(tensors); }
  Weight constant(std::span<const float> values) override {
    return {nullptr, DType::f32, {static_cast<std::int64_t>(values.size())}};
  }

  Weight derived(const model::NamedShape& tensor, const Shape& shape, const Make& /*make*/) override {
    note({&tensor, 1});
    return {nullptr, DType::f32, shape};
  }

  /// By canonical name.
  const std::map<std::string, Shape>& shapes() const { return shapes_; }

 private:
  Weight note(std::span<const model::NamedShape> tensors) {
    for (const model::NamedShape& tensor : tensors) shapes_.emplace(tensor.name, tensor.shape);
    return {nullptr, DType::f32, tensors.front().shape};
  }

  std::map<std::string, Shape> shapes_;
};

}  // namespace galago::runtime
