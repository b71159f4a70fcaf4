#include "backend/cuda/mark.h"

#include <fmt/format.h>

#include "galago/device_error.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {
namespace {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  throw DeviceError(fmt::format(
      "the CUDA device failed where copies and work wait for each other: {}; the model can be loaded "
      "again with --device cpu",
      cudaGetErrorString(error)));
}

}  // namespace

EventMark::EventMark(cudaStream_t work, cudaStream_t copies) : work_(work), copies_(copies) {
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
}

EventMark::~EventMark() {
  cudaEventDestroy(event_);
}

void EventMark::set_after_work() {
  check(cudaEventRecord(event_, work_));
}

void EventMark::set_after_copies() {
  check(cudaEventRecord(event_, copies_));
}

void EventMark::hold_work() {
  check(cudaStreamWaitEvent(work_, event_, 0));
}

void EventMark::hold_copies() {
  check(cudaStreamWaitEvent(copies_, event_, 0));
}

void EventMark::wait() {
  check(cudaEventSynchronize(event_));
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
