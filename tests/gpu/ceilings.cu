// What a card does at most: copying within its memory, and FP16 products by cuBLAS. One JSON object for
// tools/gpu-check.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace {

void check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "ceilings: %s failed: %s\n", what, cudaGetErrorString(cudaGetLastError()));
  std::exit(1);
}

void* allocate(std::size_t bytes) {
  void* address = nullptr;
  check(cudaMalloc(&address, bytes) == cudaSuccess, "reserving memory");
  check(cudaMemset(address, 0, bytes) == cudaSuccess, "clearing memory");
  return address;
}

/// Seconds of the fastest of several runs.
template <class Work>
double best_seconds(Work&& work) {
  cudaEvent_t start = nullptr;
  cudaEvent_t end = nullptr;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  double best = 1e9;
  for (int i = 0; i < 12; ++i) {
    cudaEventRecord(start);
    work();
    cudaEventRecord(end);
    check(cudaEventSynchronize(end) == cudaSuccess, "measuring");
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, start, end);
    best = std::min(best, milliseconds / 1e3);
  }
  return best;
}

}  // namespace

int main() {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0) == cudaSuccess, "opening the device");

  const std::size_t bytes = std::min<std::size_t>(std::size_t{2} << 30, properties.totalGlobalMem / 8);
  void* const from = allocate(bytes);
  void* const to = allocate(bytes);
  const double copy = best_seconds([&] { cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice); });

  constexpr int n = 8192;
  constexpr std::size_t matrix_bytes = std::size_t{2} * n * n;
  void* const a = allocate(matrix_bytes);
  void* const b = allocate(matrix_bytes);
  void* const c = allocate(2 * matrix_bytes);
  cublasHandle_t handle = nullptr;
  check(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS, "opening cuBLAS");
  const float one = 1;
  const float zero = 0;
  const double gemm = best_seconds([&] {
    check(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a, CUDA_R_16F, n, b, CUDA_R_16F, n,
                       &zero, c, CUDA_R_32F, n, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS,
          "a product");
  });
  std::printf(
      "{\"card\": \"%s\", \"compute_capability\": \"%d.%d\", \"memory_bytes\": %zu, "
      "\"copy_bytes_per_second\": %.6g, \"gemm_flops_per_second\": %.6g}\n",
      properties.name, properties.major, properties.minor, properties.totalGlobalMem,
      2.0 * static_cast<double>(bytes) / copy, 2.0 * n * static_cast<double>(n) * n / gemm);
  return 0;
}
