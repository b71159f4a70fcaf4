// CUDA's events as marks in a device's two streams.
#pragma once

#include "backend/cuda/device.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

class EventMark final : public memory::Mark {
 public:
  /// The device and its streams outlive the mark.
  EventMark(const Device& device, cudaStream_t work, cudaStream_t copies);
  ~EventMark() override;

  void set_after_work() override;
  void set_after_copies() override;
  void hold_work() override;
  void hold_copies() override;
  void wait() override;

 private:
  void check(cudaError_t error) const;

  const Device& device_;
  cudaStream_t work_;
  cudaStream_t copies_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
