// Cores and memory nodes of the machine, as Linux tells them in /sys.
#pragma once

#include <filesystem>
#include <vector>

namespace galago {

/// Numbers of the processors (hardware threads) that share a core.
using Core = std::vector<int>;

/// Where Linux describes processors and nodes.
inline constexpr const char* system_folder = "/sys/devices/system";

/// The physical cores among the given processors, in the order of their first: two hardware threads of one
/// core compute no more than one does. Where the system does not tell, each processor is a core.
std::vector<Core> cores_of(const std::vector<int>& processors,
                           const std::filesystem::path& system = system_folder);

/// Processors that the calling thread's affinity mask allows.
std::vector<int> allowed_processors();

/// Physical cores that this process may use: those of its affinity mask, or its cgroup's share of time where
/// that is less. Asked of the system once: a search for what fits asks for every candidate.
int usable_cores();

/// Numbers of the nodes that have memory; one where the system does not tell.
std::vector<int> memory_nodes(const std::filesystem::path& system = system_folder);

}  // namespace galago
