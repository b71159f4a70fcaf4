// Which build of the CPU kernels this machine runs.
#pragma once

#include <span>

#include "kernels/cpu/kernels.h"

namespace galago::backend {

/// Every table that was built and that this machine can run, narrowest first.
std::span<const kernels::KernelTable* const> runnable_kernels();

/// The widest of them, or the one that GALAGO_ISA names. Throws Error{usage} when it is unknown or the
/// machine lacks it.
const kernels::KernelTable& choose_kernels();

}  // namespace galago::backend
