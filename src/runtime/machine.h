// What this machine can do at most, measured in a few milliseconds, for roofline estimates; and what this
// process uses.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "galago/plan.h"

namespace galago::runtime {

/// How long the ceilings are looked for, and over how much memory.
struct CeilingEffort {
  std::int64_t stream_rows = 8192;  ///< of 8 KiB each
  double seconds = 0.025;           ///< for each of the two
};

/// Measures the backend's own inner loops on data in cache, and a streaming read.
MachineCeilings measure_ceilings(backend::Backend& backend, const CeilingEffort& effort = {});

/// The same inner loops with weights of 4 bits in groups of 32, as flops per second: on a CPU that rounds
/// activations to int8, its rate in int8.
double measure_int4_flops(backend::Backend& backend, double seconds);

/// Resident memory of this process now and at its peak, by the operating system's account.
struct ProcessMemory {
  std::uint64_t resident_bytes = 0;
  std::uint64_t peak_resident_bytes = 0;
};
ProcessMemory process_memory();

/// What this process has resident now, and what its program and libraries can add to it: pages of them that
/// nobody has touched yet.
std::uint64_t program_bytes();

/// Lets the peak begin anew at what is resident now; where the system does not allow it, the old one stays.
void reset_peak_resident();

/// Memory of the machine that new work can have without swapping, a cgroup's limit included; 0 where unknown.
std::uint64_t available_memory();

/// Memory that the machine has in all, or that a cgroup's limit leaves of it; 0 where unknown.
std::uint64_t total_memory();

/// Seconds that `cost` takes at least.
double roofline_seconds(const backend::Cost& cost, const MachineCeilings& ceilings);

}  // namespace galago::runtime
