// An array on the device, for tests: the emulated one's or, compiled without GALAGO_SIMT, a real one's.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    if (count > 0 && cudaMalloc(&address_, count * sizeof(T)) != cudaSuccess)
      throw std::runtime_error("no memory");
  }
  DeviceArray(const std::vector<T>& values, cudaStream_t stream) : DeviceArray(values.size()) {
    cudaMemcpyAsync(address_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice, stream);
  }
  ~DeviceArray() { cudaFree(address_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return static_cast<T*>(address_); }
  std::size_t size() const { return count_; }

  /// The values after all that is queued; throws with the fault's words if that failed.
  std::vector<T> read(cudaStream_t stream) const {
    std::vector<T> values(count_);
    cudaMemcpyAsync(values.data(), address_, count_ * sizeof(T), cudaMemcpyDeviceToHost, stream);
    const cudaError_t error = cudaStreamSynchronize(stream);
    if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
    return values;
  }

 private:
  void* address_ = nullptr;
  std::size_t count_;
};

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
