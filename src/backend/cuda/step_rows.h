// What the rows of a step are, as it lies on the device: one block of whole numbers.
#pragma once

#include <cstdint>
#include <span>

#include "backend/backend.h"
#include "kernels/cuda/kernels.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

/// Numbers that rows of these sequences may take, [ids | positions | places | tables | page tables].
std::int64_t most_row_numbers(const StepRows& rows, const LayerPages& pages);

/// Pages that a sequence's rows reach.
std::int64_t table_pages(const SequenceRows& rows, const LayerPages& pages);

/// Writes the numbers, of page tables only what the rows reach, and returns those written.
std::span<const std::int32_t> pack_rows(const StepRows& rows, const LayerPages& pages,
                                        std::span<std::int32_t> to);

/// Where they are on the device, `row` of the step being the first.
struct DeviceRows {
  const std::int32_t* ids;
  const std::int32_t* positions;
  kernels::GALAGO_DEVICE_SPACE::RowPlaces places;
  const std::int32_t* pages;  // all tables
};
DeviceRows device_rows(const StepRows& rows, std::int64_t row);

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
