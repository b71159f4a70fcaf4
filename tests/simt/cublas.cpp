// The products that cuBLAS would compute, in plain loops, their operands checked against allocations.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "simt/memory.h"
#include "simt/number_types.h"
#include "simt/streams.h"

namespace galago::simt {

struct CublasContext {
  int device = 0;  // on which it was created
  Stream* stream = nullptr;
};

namespace {

/// What the real one keeps on a device besides its workspace, on a smaller scale.
constexpr std::ptrdiff_t library_bytes = 48 << 10;

/// A matrix as BLAS sees it: columns of `rows` elements, `stride` elements apart.
struct Operand {
  const void* data;
  cudaDataType type;
  std::int64_t rows, columns, stride;

  float at(std::int64_t row, std::int64_t column) const {
    const std::int64_t i = column * stride + row;
    switch (type) {
      case CUDA_R_16F:
        return widen_half(static_cast<const std::uint16_t*>(data)[i]);
      case CUDA_R_16BF:
        return widen_bfloat16(static_cast<const std::uint16_t*>(data)[i]);
      case CUDA_R_32F:
        break;
    }
    return static_cast<const float*>(data)[i];
  }
};

void check_operand(const Operand& operand, const char* name) {
  const std::int64_t element = operand.type == CUDA_R_32F ? 4 : 2;
  const std::int64_t bytes = ((operand.columns - 1) * operand.stride + operand.rows) * element;
  const Extent extent = extent_of(operand.data);
  const auto at = reinterpret_cast<std::uintptr_t>(operand.data);
  if (at < extent.begin || at > extent.end || static_cast<std::uint64_t>(bytes) > extent.end - at) {
    fail_call("cublasGemmEx", fmt::format("operand {} of {} bytes at {} reaches outside an allocation", name,
                                          bytes, operand.data));
  }
}

/// Rows of op(A) or columns of op(B), k values one after the other.
std::vector<float> gather(const Operand& operand, bool along_rows, std::int64_t count, std::int64_t k) {
  std::vector<float> values(static_cast<std::size_t>(count * k));
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      values[static_cast<std::size_t>(i * k + j)] = along_rows ? operand.at(i, j) : operand.at(j, i);
    }
  }
  return values;
}

float dot(const float* a, const float* b, std::int64_t k) {
  constexpr std::int64_t width = 16;
  float sums[width] = {};
  std::int64_t i = 0;
  for (; i + width <= k; i += width) {
    for (std::int64_t j = 0; j < width; ++j) sums[j] += a[i + j] * b[i + j];
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  for (; i < k; ++i) total += a[i] * b[i];
  return total;
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new CublasContext{current_device()};
  count_library_bytes(library_bytes, (*handle)->device);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  count_library_bytes(-library_bytes, handle->device);
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  if (stream->device != handle->device) return CUBLAS_STATUS_INVALID_VALUE;
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t /*handle*/, void* workspace, std::size_t bytes) {
  const std::lock_guard lock(device_mutex());
  const Extent extent = extent_of(workspace);
  const auto at = reinterpret_cast<std::uintptr_t>(workspace);
  return at % 256 == 0 && at >= extent.begin && bytes <= extent.end - at ? CUBLAS_STATUS_SUCCESS
                                                                         : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType a_type, int lda,
                            const void* b, cudaDataType b_type, int ldb, const void* beta, void* c,
                            cudaDataType c_type, int ldc, cublasComputeType_t /*compute*/,
                            cublasGemmAlgo_t /*algorithm*/) {
  const int a_rows = op_a == CUBLAS_OP_N ? m : k;
  const int b_rows = op_b == CUBLAS_OP_N ? k : n;
  if (handle->device != current_device() || m < 1 || n < 1 || k < 1 || lda < a_rows || ldb < b_rows ||
      ldc < m || a_type != b_type || c_type != CUDA_R_32F) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const Operand left{a, a_type, a_rows, op_a == CUBLAS_OP_N ? k : m, lda};
  const Operand right{b, b_type, b_rows, op_b == CUBLAS_OP_N ? n : k, ldb};
  const float scale = *static_cast<const float*>(alpha);
  const float keep = *static_cast<const float*>(beta);
  handle->stream->has_kernels = true;
  const cudaError_t queued = enqueue(handle->stream, [=] {
    check_operand(left, "A");
    check_operand(right, "B");
    check_operand({c, CUDA_R_32F, m, n, ldc}, "C");
    const std::vector<float> rows = gather(left, op_a == CUBLAS_OP_N, m, k);
    const std::vector<float> columns = gather(right, op_b == CUBLAS_OP_T, n, k);
    auto* to = static_cast<float*>(c);
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = 0; i < m; ++i) {
        float& value = to[j * ldc + i];
        const float product = scale * dot(rows.data() + i * k, columns.data() + j * k, k);
        value = keep == 0 ? product : product + keep * value;
      }
    }
  });
  return queued == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS         ? "success"
         : status == CUBLAS_STATUS_INVALID_VALUE ? "invalid value"
                                                 : "execution failed";
}

}  // namespace galago::simt
