// CUDA's events as marks in a device's two streams.
#pragma once

#include "kernels/cuda/runtime.h"
#include "memory/device_memory.h"

#if defined(GALAGO_SIMT)
namespace galago::backend::emulated {
using namespace galago::simt;  // NOLINT: the calls' own names
}
#endif

namespace galago::backend::GALAGO_DEVICE_SPACE {

class EventMark final : public memory::Mark {
 public:
  /// Both streams outlive the mark.
  EventMark(cudaStream_t work, cudaStream_t copies);
  ~EventMark() override;

  void set_after_work() override;
  void set_after_copies() override;
  void hold_work() override;
  void hold_copies() override;
  void wait() override;

 private:
  cudaStream_t work_;
  cudaStream_t copies_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
