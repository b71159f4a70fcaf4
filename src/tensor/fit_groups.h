// Rounding weights to groups with care: slower than encode_row(), for what is rounded once.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/weight_format.h"

namespace galago {

/// As encode_row(); the scale of 4 bits, and the minimum beside it where the format has one, are chosen for
/// the least squared error of the group among those with which 0 stays 0 (docs/benchmarks/quality.md has what
/// that gains).
bool encode_weights(const Grouped& format, std::span<const float> row, std::span<std::byte> to);

}  // namespace galago
