// Whether there is room now for what was planned.
#pragma once

#include "backend/backend.h"
#include "runtime/fit.h"

namespace galago::runtime {

/// Throws Error{memory} where the machine has less than the plan takes. Where the backend has memory of its
/// own: where the device has less free than the plan takes there, with the best configuration that would fit,
/// or the host less than what stays with it.
void check_room(const Blueprint& model, const EngineOptions& options, const Demand& demand,
                backend::Backend& backend, const Settled& settled);

}  // namespace galago::runtime
