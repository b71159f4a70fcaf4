// cuBLAS as the backend uses it. The library is loaded when a CUDA device is opened, not when the program
// starts: it is larger than all else together, and a machine without it still has its CPU.
#pragma once

#include <cstdint>

#include "kernels/cuda/runtime.h"
#include "tensor/dtype.h"

#if defined(GALAGO_SIMT)
namespace galago::backend::emulated {
using namespace galago::simt;  // NOLINT: the calls' own names
}
#endif

namespace galago::backend::GALAGO_DEVICE_SPACE {

/// y [m, n] = x [m, k] w^T, or y += x w^T; w [n, k] without gaps, x in the same type, y in FP32; sums in
/// FP32.
struct Gemm {
  std::int64_t m, n, k;
  const void* x;
  std::int64_t x_stride;
  const void* w;
  DType dtype;
  bool add;
  float* y;
  std::int64_t y_stride;
};

class Blas {
 public:
  /// Throws Error{usage} where the library is missing.
  explicit Blas(cudaStream_t stream);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  /// `workspace` begins at a multiple of workspace_alignment.
  cublasStatus_t multiply(const Gemm& gemm, std::byte* workspace, Bytes workspace_bytes);
  const char* describe(cublasStatus_t status) const;

  static constexpr Bytes workspace_alignment = 256;

 private:
  cublasHandle_t handle_ = nullptr;
};

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
