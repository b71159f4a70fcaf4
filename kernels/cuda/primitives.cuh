// What the kernels' sources are written in: device memory, shared memory, barriers, collectives, 16-bit
// numbers and launches. Here is the real device's side; tests/simt/device.h has the emulated one under the
// same names.
#pragma once

#include <math.h>

#include <cstdint>

#include "kernels/cuda/runtime.h"

#if defined(GALAGO_SIMT)
#include "simt/device.h"
#include "simt/number_types.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// FP16 and BF16 as they lie in memory.
struct Half {
  std::uint16_t bits;
};
struct Bfloat16 {
  std::uint16_t bits;
};

/// Values that are loaded at once.
struct alignas(16) Float4 {
  float values[4];
};
struct alignas(16) Words4 {
  std::uint32_t words[4];
};
struct alignas(8) Words2 {
  std::uint32_t words[2];
};

inline constexpr int warp_lanes = 32;

#if defined(GALAGO_SIMT)

using simt::blockDim;
using simt::blockIdx;
using simt::gridDim;
using simt::threadIdx;

__device__ float widen(Half value) {
  return simt::widen_half(value.bits);
}
__device__ float widen(Bfloat16 value) {
  return simt::widen_bfloat16(value.bits);
}
__device__ Half narrow_half(float value) {
  return {simt::narrow_half(value)};
}
__device__ Bfloat16 narrow_bfloat16(float value) {
  return {simt::narrow_bfloat16(value)};
}

template <auto kernel, class Params>
void call_kernel(const void* params) {
  kernel(*static_cast<const Params*>(params));
}

template <auto kernel, class Params>
cudaError_t launch(cudaStream_t stream, const char* name, const simt::Dim3& grid, unsigned threads,
                   std::size_t shared_bytes, const Params& params) {
  return simt::launch_kernel(stream, name, grid, threads, shared_bytes, call_kernel<kernel, Params>, &params,
                             sizeof(Params));
}

/// What is compiled for the host is there.
template <auto kernel>
cudaError_t find_kernel() {
  return cudaSuccess;
}

using Grid = simt::Dim3;

#else

template <class T>
using Global = T*;
template <class T>
using Shared = T*;

template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char galago_dynamic_shared[];
  return reinterpret_cast<T*>(galago_dynamic_shared);
}
#define GALAGO_SHARED_ARRAY(T, name, count) __shared__ T name[count]

__device__ __forceinline__ void block_barrier() {
  __syncthreads();
}
__device__ __forceinline__ void warp_barrier() {
  __syncwarp();
}
template <class T>
__device__ __forceinline__ T shuffle(T value, unsigned lane) {
  return __shfl_sync(0xffffffffU, value, static_cast<int>(lane));
}
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, unsigned mask) {
  return __shfl_xor_sync(0xffffffffU, value, static_cast<int>(mask));
}
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = warp_lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffU, value, step);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int step = warp_lanes / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, step));
  }
  return value;
}

/// A vector of V from element `i` of `from` on, where its address must be a multiple of V's size.
template <class V, class T>
__device__ __forceinline__ V load_vector(T* from, std::int64_t i) {
  return *reinterpret_cast<const V*>(from + i);
}
template <class V, class T>
__device__ __forceinline__ void store_vector(T* to, std::int64_t i, const V& value) {
  *reinterpret_cast<V*>(to + i) = value;
}
/// The elements' own memory as another type.
template <class U, class T>
__device__ __forceinline__ U* memory_as(T* from) {
  return reinterpret_cast<U*>(from);
}

__device__ __forceinline__ float widen(Half value) {
  return __half2float(__ushort_as_half(value.bits));
}
__device__ __forceinline__ float widen(Bfloat16 value) {
  return __bfloat162float(__ushort_as_bfloat16(value.bits));
}
__device__ __forceinline__ Half narrow_half(float value) {
  return {__half_as_ushort(__float2half_rn(value))};
}
__device__ __forceinline__ Bfloat16 narrow_bfloat16(float value) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
}

using Grid = dim3;

#if defined(__CUDACC__)
template <auto kernel>
cudaError_t find_kernel() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, kernel);
}

/// Starts a kernel that takes one struct of parameters; its error, if the launch itself had one.
template <auto kernel, class Params>
cudaError_t launch(cudaStream_t stream, const char* /*name*/, const Grid& grid, unsigned threads,
                   std::size_t shared_bytes, const Params& params) {
  // Beyond what every device gives, a kernel has to ask.
  constexpr std::size_t given = 48 * 1024;
  if (shared_bytes > given) {
    const cudaError_t asked = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shared_bytes));
    if (asked != cudaSuccess) return asked;
  }
  kernel<<<grid, threads, shared_bytes, stream>>>(params);
  return cudaGetLastError();
}
#endif

#endif

__device__ __forceinline__ float widen(float value) {
  return value;
}

/// The highest bit's number; `value` is not 0.
__device__ __forceinline__ int floor_log2(unsigned value) {
#if defined(GALAGO_SIMT)
  return 31 - __builtin_clz(value);
#else
  return 31 - __clz(static_cast<int>(value));
#endif
}

/// Numbers of one storage type, `narrow` rounding to nearest even. FP16 saturates: sums are never infinite
/// because of where they are stored.
template <class T>
__device__ __forceinline__ T narrow_to(float value);
template <>
__device__ __forceinline__ float narrow_to<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ Half narrow_to<Half>(float value) {
  constexpr float largest = 65504.0F;
  return narrow_half(value > largest ? largest : (value < -largest ? -largest : value));
}
template <>
__device__ __forceinline__ Bfloat16 narrow_to<Bfloat16>(float value) {
  return narrow_bfloat16(value);
}

__device__ __forceinline__ unsigned lane_index() {
  return threadIdx.x % warp_lanes;
}
__device__ __forceinline__ unsigned warp_index() {
  return threadIdx.x / warp_lanes;
}

/// The sum over the block, the same for all its threads. `partials` has room for one value a warp and is free
/// again after the block's next barrier.
__device__ __forceinline__ float block_sum(float value, const Shared<float>& partials) {
  const float of_warp = warp_sum(value);
  if (lane_index() == 0) partials[warp_index()] = of_warp;
  block_barrier();
  const unsigned n_warps = blockDim.x / warp_lanes;
  return warp_sum(lane_index() < n_warps ? static_cast<float>(partials[lane_index()]) : 0.0F);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
