// From what a run's arena and queue kept to the words of the public reports.
#pragma once

#include <vector>

#include "backend/queue.h"
#include "galago/report.h"
#include "runtime/executor.h"

namespace galago::runtime {

/// What was planned for each region of a run, and what it used, device after device.
std::vector<RegionUse> region_uses(const Executor& executor);

/// The same phase after phase.
std::vector<PhaseUse> phase_uses(const Executor& executor);

/// What ran, phase by phase, the longest first; without ceilings.
std::vector<OpUse> op_uses(const backend::OpTimes& times);

}  // namespace galago::runtime
