// The emulated devices' memory: what was allocated on each, and where an address lies.
#pragma once

#include <cstddef>
#include <cstdint>

namespace galago::simt {

/// How many devices there are. Work on one does not reach the other's memory.
inline constexpr int n_devices = 2;

/// The device that this thread's work runs on now, or that its calls are for: cudaSetDevice's.
int current_device();
/// The device of before.
int set_current_device(int device);

/// The current device's allocation around an address: [begin, end), empty if there is none.
struct Extent {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};
Extent extent_of(const void* address);

/// Memory of the current device; null where it has no more.
void* allocate_device(std::size_t bytes);
/// False for an address that allocate_device() did not give.
bool free_device(void* address);
/// Memory of the host that copies read and write at their turn.
void* allocate_pinned(std::size_t bytes);
bool free_pinned(void* address);
bool is_pinned(const void* address);

/// Counts bytes that libraries take of a device as in use, or, less than 0, as given back.
void count_library_bytes(std::ptrdiff_t bytes, int device);

/// How large the device is; for tests of what does not fit. What was allocated stays.
void set_device_memory(std::size_t bytes, int device = 0);
std::size_t device_memory(int device = 0);
std::size_t free_device_memory(int device = 0);

}  // namespace galago::simt
