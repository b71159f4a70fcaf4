// LayerNorm (arXiv:1607.06450) and RMSNorm (arXiv:1910.07467): a block a row.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/primitives.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr unsigned norm_threads = 256;
constexpr unsigned norm_warps = norm_threads / warp_lanes;

template <bool centred>
__global__ void __launch_bounds__(norm_threads) norm_kernel(const Norm op) {
  GALAGO_SHARED_ARRAY(float, sums, norm_warps);
  GALAGO_SHARED_ARRAY(float, squares, norm_warps);
  const std::int64_t row = blockIdx.x;
  const Global<const float> x(op.x + row * op.x_stride);
  const Global<const float> weight(op.weight);
  const Global<const float> bias(op.bias);
  const Global<float> y(op.y + row * op.y_stride);
  const auto n = static_cast<float>(op.cols);

  float mean = 0;
  if (centred) {
    float sum = 0;
    for (std::int64_t i = threadIdx.x; i < op.cols; i += norm_threads) sum += x[i];
    mean = block_sum(sum, sums) / n;
  }
  float square = 0;
  for (std::int64_t i = threadIdx.x; i < op.cols; i += norm_threads) {
    const float value = x[i] - mean;
    square += value * value;
  }
  const float scale = 1.0F / sqrtf(block_sum(square, squares) / n + op.epsilon);
  // y may be x: each thread reads and writes its own elements only.
  for (std::int64_t i = threadIdx.x; i < op.cols; i += norm_threads) {
    const float value = (x[i] - mean) * scale * weight[i];
    y[i] = centred && bias ? value + bias[i] : value;
  }
}

}  // namespace

cudaError_t layer_norm(cudaStream_t stream, const Norm& op, std::int64_t n_rows) {
  if (n_rows == 0) return cudaSuccess;
  return launch<norm_kernel<true>>(stream, "layer_norm", Grid{static_cast<unsigned>(n_rows), 1, 1},
                                   norm_threads, 0, op);
}

cudaError_t rms_norm(cudaStream_t stream, const Norm& op, std::int64_t n_rows) {
  if (n_rows == 0) return cudaSuccess;
  return launch<norm_kernel<false>>(stream, "rms_norm", Grid{static_cast<unsigned>(n_rows), 1, 1},
                                    norm_threads, 0, op);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
