// The CUDA backend: a device with an arena of its own, work in a stream. Built twice from the same sources:
// for CUDA's devices, where the build has nvcc, and for the emulated one of the tests.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace galago::backend {

/// What attention and products of some rows compute in where the device has tensor cores for it (sm_80).
enum class CudaProducts {
  fp32,          ///< FP32 attention; products as before: only those of many rows narrow activations
  tensor_cores,  ///< operands rounded to FP16 (BF16 beside weights in it), sums in FP32
};

namespace cuda {
/// The device with this number. Throws Error{usage} where there is none, or no driver, or either is too old;
/// DeviceError where it cannot be opened.
std::unique_ptr<Backend> make_backend(int device, CudaProducts products);
/// 1000 times the major version of CUDA that the driver is made for, and 10 times the minor; 0: there is
/// none.
int driver_version();
}  // namespace cuda

namespace emulated {
std::unique_ptr<Backend> make_backend(int device, CudaProducts products);
int driver_version();
}  // namespace emulated

}  // namespace galago::backend
