// What the emulated device reports when a kernel does what a real one may let pass: the kernel, where, and
// what.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace galago::simt {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

enum class Mistake {
  outside_allocation,  ///< device memory that no allocation covers
  outside_shared,      ///< shared memory beyond what the launch asked for
  unwritten_shared,    ///< shared memory read before anyone wrote it
  divergent_barrier,   ///< a barrier or collective that not all threads reach
  misaligned_access,   ///< a vector or element at an address that is no multiple of its size
  shared_race,         ///< shared memory touched by two threads, one writing, with no barrier between
  impossible_launch,   ///< a grid, block or shared memory that no device takes
  arranged,            ///< a test wanted it (Failures)
};

struct Fault {
  Mistake mistake;
  std::string kernel;
  Dim3 block, thread;
  std::string what;

  /// "kernel rms_norm, block (1, 0, 0), thread (3, 0, 0): ..."
  std::string to_string() const;
};

/// Thrown inside a kernel and caught by whoever runs the launch.
struct KernelFault {
  Fault fault;
};

/// Ends the running kernel with a fault of the running thread.
[[noreturn]] void fail_kernel(Mistake mistake, std::string what);

/// The device's fault, which makes every later call fail until it is taken.
const std::optional<Fault>& device_fault();
std::optional<Fault> take_device_fault();

/// Graphs that were launched, on one device or over all.
std::uint64_t n_graph_launches(int device);
std::uint64_t n_graph_launches();
/// Bytes that copies have brought to the host, over all devices.
std::uint64_t n_bytes_to_host();

enum class Checks {
  usual,      ///< all but races
  and_races,  ///< slower: every shared access is compared with those since the last barrier
};
void set_checks(Checks checks);

/// What goes wrong though nobody made a mistake, for tests of those who have to cope. A program may be given
/// it from outside as well: GALAGO_SIMT_FAILURES="driver", "busy", "old" or "launch N".
struct Failures {
  bool driver = false;       ///< none that this runtime works with
  bool busy = false;         ///< the device is there and cannot be opened: somebody has it for himself
  bool old = false;          ///< the device is of an architecture before all that we support
  std::uint64_t launch = 0;  ///< the kernel that fails, counted from 1 on; 0: none
};
void set_failures(const Failures& failures);

/// Which of the orders that streams and events leave open is taken. Where a wait is missing, results are
/// wrong in one of them.
enum class StreamOrder {
  late,          ///< all work as late as it may be: when somebody waits for it
  copies_early,  ///< streams in which no kernel was queued run their work at once
};
void set_stream_order(StreamOrder order);

}  // namespace galago::simt
