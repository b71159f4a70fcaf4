// The emulated device's memory: what was allocated, and where an address lies.
#pragma once

#include <cstddef>
#include <cstdint>

namespace galago::simt {

/// The allocation around an address: [begin, end), empty if there is none.
struct Extent {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};
Extent extent_of(const void* address);

/// Null where the device has no more.
void* allocate_device(std::size_t bytes);
/// False for an address that allocate_device() did not give.
bool free_device(void* address);
/// Counts bytes that libraries take of the device as in use, or, less than 0, as given back.
void count_library_bytes(std::ptrdiff_t bytes);

/// How large the device is; for tests of what does not fit. What was allocated stays.
void set_device_memory(std::size_t bytes);
std::size_t device_memory();
std::size_t free_device_memory();

}  // namespace galago::simt
