// How reports write numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "galago/plan.h"

namespace galago::runtime {

/// "12.30 ms", "1.250 s"
std::string time_text(double seconds);

/// "512.0 MiB"
std::string mebibytes_text(std::uint64_t bytes);

/// "150.2 GFLOP/s in FP32, 300.1 with int8, reads 20.5 GB/s"; a card has one ceiling of arithmetic.
std::string ceilings_text(const MachineCeilings& ceilings);

/// "weights", or, where there are several devices, "cuda:0 weights"
std::string region_text(std::string_view region, std::string_view device, std::size_t n_devices);

}  // namespace galago::runtime
