// A GPU that fails while it is used.
#pragma once

#include <string>

#include "galago/error.h"

namespace galago {

/// Thrown where a device was lost or a kernel failed on it. `what()` names the device, the operation that it
/// was at, and the driver's reason. The engine is of no more use, and the process no longer of any to this
/// device; an engine with EngineOptions::device = "cpu" can take its place.
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& sentence) : Error(ErrorCode::internal, sentence) {}
};

}  // namespace galago
