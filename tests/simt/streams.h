// Work that waits in a stream until somebody needs its results.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "simt/runtime.h"

namespace galago::simt {

/// Held by every call, as the host's threads may share the device: one of them at a time does all that waits.
std::recursive_mutex& device_mutex();

struct Event {
  Stream* stream = nullptr;  // where it waits; null: it happened, or was never recorded
  std::uint64_t ticket = 0;  // of the recording
  // Of the recording, which may come after the event's end.
  std::shared_ptr<std::chrono::steady_clock::time_point> time =
      std::make_shared<std::chrono::steady_clock::time_point>();
};

/// What a stream was handed while it recorded, in order.
using Recording = std::vector<std::function<void()>>;

struct Stream {
  int device = 0;  // on which it was created
  struct Work {
    std::uint64_t ticket;
    std::function<void()> run;
  };
  std::deque<Work> queue;
  std::uint64_t next_ticket = 1;
  bool has_kernels = false;              // of those queued ever
  std::shared_ptr<Recording> recording;  // null: work is queued
  bool recording_failed = false;
};

/// Whether a stream records what this thread hands it.
bool is_recording();
/// Whether the stream records, which then fails: what was asked for cannot be recorded.
bool spoil_recording(Stream& stream);

/// An error once there was a fault.
cudaError_t status();
/// Keeps an error for cudaGetLastError().
cudaError_t remember(cudaError_t error);

/// Queues or records work. Fails without doing anything once the device has a fault.
cudaError_t enqueue(Stream* stream, std::function<void()> work);

/// Ends the queued work that runs with a fault that no thread of a kernel is to blame for.
[[noreturn]] void fail_call(const char* call, std::string what);

}  // namespace galago::simt
