// Memory of a device of its own, which the host reaches by copies only.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace galago::memory {

/// A device's memory by its driver's account.
struct DeviceRoom {
  Bytes free = 0;
  Bytes total = 0;
  Bytes driver = 0;  ///< that driver and libraries took for this process; no longer free
};

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  virtual DeviceRoom room() = 0;

  /// One block of the device's memory. Throws Error{memory} with what is free and what was asked for.
  virtual std::byte* reserve(Bytes bytes) = 0;
  virtual void release(std::byte* block) noexcept = 0;

  /// Copies in the order of the device's other work. `from` may change when the call returns.
  virtual void upload(std::byte* to, std::span<const std::byte> from) = 0;
  /// Copies what the work handed in before has made, and waits for it.
  virtual void download(std::span<std::byte> to, const std::byte* from) = 0;
};

}  // namespace galago::memory
