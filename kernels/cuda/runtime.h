// CUDA's runtime and cuBLAS, or their emulation (tests/simt): host code and kernels are compiled once for
// each, into a namespace of its own, so that one program can hold both.
#pragma once

#if defined(GALAGO_SIMT)
#include "simt/runtime.h"
#define GALAGO_DEVICE_SPACE emulated
namespace galago::kernels::emulated {
using namespace galago::simt;  // NOLINT: the calls' own names
}
#else
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#define GALAGO_DEVICE_SPACE cuda
#endif
