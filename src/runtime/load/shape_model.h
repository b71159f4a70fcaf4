// Known shapes as models: tensors are those that the network asks for, their values invented when they are
// read.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "checkpoint/shapes.h"
#include "galago/options.h"
#include "runtime/load/model_files.h"

namespace galago::runtime {

/// A model without files.
Blueprint model_of_shape(const checkpoint::KnownShape& shape);
/// Throws Error{usage} for a name that is unknown.
Blueprint model_of_shape(std::string_view name);

/// Tokens of the workload's pictures and of its text.
std::int64_t shape_prompt_length(const Blueprint& model, const Workload& workload);

/// Fills `to` with values of type `dtype` (FP32, FP16 or BF16) whose magnitudes are about 1 / sqrt(columns)
/// of a matrix of this shape, so that nothing overflows however many layers follow; 1 for vectors. The same
/// seed gives the same values.
void invent_values(const Shape& shape, DType dtype, std::uint64_t seed, std::span<std::byte> to);

}  // namespace galago::runtime
