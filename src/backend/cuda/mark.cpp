#include "backend/cuda/mark.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

EventMark::EventMark(const Device& device, cudaStream_t work, cudaStream_t copies)
    : device_(device), work_(work), copies_(copies) {
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
}

void EventMark::check(cudaError_t error) const {
  if (error == cudaSuccess) return;
  device_.fail_device("where copies and work wait for each other", cudaGetErrorString(error));
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
