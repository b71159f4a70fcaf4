// Whether a device has room now for what was planned for it.
#pragma once

#include "runtime/fit.h"

namespace galago::runtime {

/// Throws Error{memory} where the device has less free than the plan takes there, with the best configuration
/// that would fit, or the host less than what stays with it. Nothing for backends that work in the host's
/// memory.
void check_device(const Blueprint& model, const EngineOptions& options, const Demand& demand,
                  backend::Backend& backend, const Settled& settled);

}  // namespace galago::runtime
