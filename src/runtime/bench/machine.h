// The machine's ceilings as a benchmark needs them: longer and over more memory than a plan takes time for.
#pragma once

#include "backend/backend.h"
#include "galago/bench.h"

namespace galago::runtime {

BenchMachine measure_machine(backend::Backend& backend, int n_threads);

}  // namespace galago::runtime
