// The device that the options name.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "galago/options.h"

namespace galago::runtime {

/// Throws Error{usage} for a device or a number of threads that cannot be.
std::unique_ptr<backend::Backend> open_backend(const EngineOptions& options);

}  // namespace galago::runtime
