// Whether there is room now for what was planned.
#pragma once

#include "backend/backends.h"
#include "runtime/plan/fit.h"

namespace galago::runtime {

/// Throws Error{memory} where the machine has less than the plan takes of its memory, or a device with memory
/// of its own less than the plan takes there; where it is the only one, with the best configuration that
/// would fit.
void check_room(const Blueprint& model, const EngineOptions& options, const Demand& demand,
                const backend::Backends& backends, const Settled& settled);

}  // namespace galago::runtime
