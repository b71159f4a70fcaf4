// The devices that the options name.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "galago/options.h"

namespace galago::runtime {

/// In the order of the options; one at least. Throws Error{usage} for devices, shares of them or a number of
/// threads that cannot be.
std::vector<std::unique_ptr<backend::Backend>> open_backends(const EngineOptions& options);

}  // namespace galago::runtime
