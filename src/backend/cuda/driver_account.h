// What the driver says is in use of a device's memory, by anybody: asked before and after a context is
// created, it tells what driver and libraries take, which the runtime cannot.
#pragma once

#include <optional>

#include "kernels/cuda/runtime.h"
#include "tensor/dtype.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

/// None where NVIDIA's management library is missing. Needs no context.
std::optional<Bytes> bytes_in_use(int device);

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
