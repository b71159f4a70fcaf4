// How kernels of any device see weight formats and activations.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "kernels/cpu/kernels.h"

namespace galago::backend {

kernels::Activation activation_of(Activation activation);
kernels::Element element_of(DType dtype);
/// The rows of a grouped format.
kernels::GroupedRows rows_of(const Grouped& grouped, std::int64_t cols);

}  // namespace galago::backend
