// The CPU backend: ops split over threads, kernels chosen for the machine.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace galago::backend {

/// `n_threads` 0: one per usable core. The instruction set is the widest that the machine has, or what the
/// environment variable GALAGO_ISA names (portable, avx2, avx512). Throws Error{usage} for one that the
/// machine lacks.
std::unique_ptr<Backend> make_cpu_backend(int n_threads);

}  // namespace galago::backend
