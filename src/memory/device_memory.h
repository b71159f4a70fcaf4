// Memory of a device of its own, which the host reaches by copies only.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "tensor/dtype.h"

namespace galago::memory {

/// A device's memory by its driver's account.
struct DeviceRoom {
  Bytes free = 0;
  Bytes total = 0;
  Bytes driver = 0;  ///< that driver and libraries took for this process; no longer free
};

/// A point in the order of a device's work, or of the copies beside it, that the other or the host waits for.
/// Each of these throws Error{internal} where the device has failed.
class Mark {
 public:
  Mark() = default;
  virtual ~Mark() = default;
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;

  /// After everything that was handed in so far.
  virtual void set_after_work() = 0;
  virtual void set_after_copies() = 0;
  /// What is handed in from now on begins after the mark, if it was ever set.
  virtual void hold_work() = 0;
  virtual void hold_copies() = 0;
  /// Returns when the device has passed the mark, if it was ever set.
  virtual void wait() = 0;
};

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  virtual DeviceRoom room() = 0;

  /// One block of the device's memory. Throws Error{memory} with what is free and what was asked for.
  virtual std::byte* reserve(Bytes bytes) = 0;
  virtual void release(std::byte* block) noexcept = 0;
  /// One block of the host's memory that the device copies from by itself: pinned. Throws Error{memory}.
  virtual std::byte* reserve_pinned(Bytes bytes) = 0;
  virtual void release_pinned(std::byte* block) noexcept = 0;

  /// Copies in the order of the device's other work. `from` may change when the call returns.
  virtual void upload(std::byte* to, std::span<const std::byte> from) = 0;
  /// Copies what the work handed in before has made, and waits for it.
  virtual void download(std::span<std::byte> to, const std::byte* from) = 0;

  /// Copies beside the work, in the order of other such copies, from pinned memory, which has to stay as it
  /// is until a mark after the copy is passed. Another thread than the one that hands in work may do so.
  virtual void copy_beside(std::byte* to, std::span<const std::byte> from) = 0;
  virtual std::unique_ptr<Mark> make_mark() = 0;
};

}  // namespace galago::memory
