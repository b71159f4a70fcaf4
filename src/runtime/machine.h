// What this machine can do at most, measured in a few milliseconds, for roofline estimates; and what this
// process uses.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "galago/plan.h"

namespace galago::runtime {

/// Measures the backend's own inner loops on data in cache, and a streaming read, for about 50 ms together.
MachineCeilings measure_ceilings(backend::Backend& backend);

/// Resident memory of this process now and at its peak, by the operating system's account.
struct ProcessMemory {
  std::uint64_t resident_bytes = 0;
  std::uint64_t peak_resident_bytes = 0;
};
ProcessMemory process_memory();

/// Memory of the machine that new work can have without swapping, a cgroup's limit included; 0 where unknown.
std::uint64_t available_memory();

/// Seconds that `cost` takes at least.
double roofline_seconds(const backend::Cost& cost, const MachineCeilings& ceilings);

}  // namespace galago::runtime
