// Rows of one sequence, as kernels are told of them.
#pragma once

#include <numeric>
#include <vector>

#include "kernels/cuda/device_array.h"
#include "kernels/cuda/kernels.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// `n` tokens from position `first` on; the sequence's page table is the first.
class SequencePlaces {
 public:
  SequencePlaces(std::int64_t first, std::int64_t n, cudaStream_t stream)
      : positions_(numbers_from(first, n), stream),
        tables_(std::vector<std::int32_t>(static_cast<std::size_t>(n)), stream) {}

  RowPlaces places() const { return {positions_.data(), tables_.data()}; }

 private:
  static std::vector<std::int32_t> numbers_from(std::int64_t first, std::int64_t n) {
    std::vector<std::int32_t> numbers(static_cast<std::size_t>(n));
    std::iota(numbers.begin(), numbers.end(), static_cast<std::int32_t>(first));
    return numbers;
  }

  DeviceArray<std::int32_t> positions_, tables_;
};

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
