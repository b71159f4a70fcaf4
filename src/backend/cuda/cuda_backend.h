// The CUDA backend: a device with an arena of its own, work in a stream. Built twice from the same sources:
// for CUDA's devices, where the build has nvcc, and for the emulated one of the tests.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace galago::backend {

namespace cuda {
/// The device with this number. Throws Error{usage} where there is no such device or no driver.
std::unique_ptr<Backend> make_backend(int device);
/// How many devices there are; 0 without a driver.
int device_count();
}  // namespace cuda

namespace emulated {
std::unique_ptr<Backend> make_backend(int device);
}

}  // namespace galago::backend
