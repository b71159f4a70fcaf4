#include "backend/cuda/blas.h"

#include <fmt/format.h>

#include "base/fail.h"

#if !defined(GALAGO_SIMT)
#include <dlfcn.h>
#endif

namespace galago::backend::GALAGO_DEVICE_SPACE {
namespace {

struct Library {
  decltype(&cublasCreate) create;
  decltype(&cublasDestroy) destroy;
  decltype(&cublasSetStream) set_stream;
  decltype(&cublasSetWorkspace) set_workspace;
  cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                         const void*, cudaDataType, int, const void*, cudaDataType, int, const void*, void*,
                         cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);
  decltype(&cublasGetStatusString) status_string;
};

#if defined(GALAGO_SIMT)

const Library& library() {
  static const Library library{cublasCreate,       cublasDestroy, cublasSetStream,
                               cublasSetWorkspace, cublasGemmEx,  cublasGetStatusString};
  return library;
}

#else

template <class Function>
void find(void* loaded, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(loaded, name));
  if (function == nullptr) fail(ErrorCode::usage, "cuBLAS lacks {}; reinstall NVIDIA's toolkit", name);
}

Library load() {
  const std::string name = fmt::format("libcublas.so.{}", CUBLAS_VER_MAJOR);
  void* loaded = nullptr;
  for (const std::string& folder : {std::string(), std::string(GALAGO_CUDA_LIBRARY_DIR "/")}) {
    if (loaded == nullptr) loaded = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  if (loaded == nullptr) {
    fail(ErrorCode::usage, "{} cannot be loaded; install NVIDIA's cuBLAS, or choose --device cpu", name);
  }
  Library library{};
  find(loaded, "cublasCreate_v2", library.create);
  find(loaded, "cublasDestroy_v2", library.destroy);
  find(loaded, "cublasSetStream_v2", library.set_stream);
  find(loaded, "cublasSetWorkspace_v2", library.set_workspace);
  find(loaded, "cublasGemmEx", library.gemm);
  find(loaded, "cublasGetStatusString", library.status_string);
  return library;
}

const Library& library() {
  static const Library library = load();
  return library;
}

#endif

}  // namespace

Blas::Blas(cudaStream_t stream) {
  if (library().create(&handle_) != CUBLAS_STATUS_SUCCESS ||
      library().set_stream(handle_, stream) != CUBLAS_STATUS_SUCCESS) {
    fail(ErrorCode::memory, "cuBLAS cannot be opened: the device has too little free memory for it");
  }
}

Blas::~Blas() {
  if (handle_ != nullptr) library().destroy(handle_);
}

cublasStatus_t Blas::multiply(const Gemm& gemm, std::byte* workspace, Bytes workspace_bytes) {
  const cublasStatus_t ready = library().set_workspace(handle_, workspace, workspace_bytes);
  if (ready != CUBLAS_STATUS_SUCCESS) return ready;
  const cudaDataType type = gemm.dtype == DType::f16    ? CUDA_R_16F
                            : gemm.dtype == DType::bf16 ? CUDA_R_16BF
                                                        : CUDA_R_32F;
  const float one = 1;
  const float keep = gemm.add ? 1 : 0;
  const auto k = static_cast<int>(gemm.k);
  // Rows are BLAS's columns: y^T [n, m] = w [n, k] x^T.
  return library().gemm(handle_, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(gemm.n), static_cast<int>(gemm.m),
                        k, &one, gemm.w, type, k, gemm.x, type, static_cast<int>(gemm.x_stride), &keep,
                        gemm.y, CUDA_R_32F, static_cast<int>(gemm.y_stride), CUBLAS_COMPUTE_32F,
                        CUBLAS_GEMM_DEFAULT);
}

const char* Blas::describe(cublasStatus_t status) const {
  return library().status_string(status);
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
