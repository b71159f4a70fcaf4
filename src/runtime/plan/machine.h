// What this machine can do at most, measured in a few milliseconds, for roofline estimates; and what this
// process uses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <vector>

#include "backend/backends.h"
#include "galago/plan.h"

namespace galago::runtime {

/// How long each of the ceilings is looked for, and over how much memory.
struct CeilingEffort {
  std::int64_t stream_rows = 8192;  ///< of 8 KiB each
  double seconds = 0.025;
};

/// Measures the backend's own inner loops on data in cache, in FP32 and, where it rounds activations, in
/// int8; and a streaming read.
MachineCeilings measure_ceilings(backend::Backend& backend, const CeilingEffort& effort = {});

/// Of each of several devices.
std::vector<MachineCeilings> measure_all(const backend::Backends& backends);

/// Resident memory of this process now and at its peak, by the operating system's account.
struct ProcessMemory {
  std::uint64_t resident_bytes = 0;
  std::uint64_t peak_resident_bytes = 0;
};
ProcessMemory process_memory();

/// What this process has resident now, and what its program and libraries can add to it: pages of them that
/// nobody has touched yet. Code for CUDA devices, which a program that uses none never reads, only
/// `with_device_code`.
std::uint64_t program_bytes(bool with_device_code);

/// Lets the peak begin anew at what is resident now; where the system does not allow it, the old one stays.
void reset_peak_resident();

/// What this process's control groups leave it; all there can be where none has a limit.
struct GroupMemory {
  std::uint64_t limit = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t available = std::numeric_limits<std::uint64_t>::max();
};
GroupMemory memory_of_groups(const std::filesystem::path& root,
                             const std::filesystem::path& membership = "/proc/self/cgroup");

/// Memory of the machine that new work can have without swapping, a cgroup's limit included; 0 where unknown.
std::uint64_t available_memory();

/// Memory that the machine has in all, or that a cgroup's limit leaves of it; 0 where unknown.
std::uint64_t total_memory();

/// Seconds that work of kind `op` takes at least.
double roofline_seconds(backend::Op op, const backend::Cost& cost, const MachineCeilings& ceilings);

/// Seconds that all of a phase takes at least, op after op.
double roofline_seconds(const backend::Ledger& ledger, backend::Phase phase, const MachineCeilings& ceilings);

}  // namespace galago::runtime
