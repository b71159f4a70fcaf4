// The storage types that a budget may choose, for each part of the model, from the best answers downwards.
#pragma once

#include <vector>

#include "galago/options.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/configuration.h"

namespace galago::runtime {

/// `asked` with every combination of storage types that the options leave free and that is worth having: each
/// is expected to cost answers more than those before it, and takes clearly fewer bytes. The first is
/// `asked` itself.
std::vector<Configuration> precision_rungs(const Blueprint& model, const EngineOptions& options,
                                           const Configuration& asked);

}  // namespace galago::runtime
