// Plans a model: rehearses its largest request with an arena and a queue that only count.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/backends.h"
#include "galago/options.h"
#include "galago/plan.h"
#include "memory/arena.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/configuration.h"

namespace galago::runtime {

/// Memory outside the arena.
struct OutsideBytes {
  Bytes opening = 0;   ///< of the whole process at its most, while the model's files were opened
  Bytes runtime = 0;   ///< the program, its libraries, tokenizer and tables, and what a request needs of them
  Bytes decoding = 0;  ///< a picture being decoded and cut
};

/// What a rehearsal takes of one device.
struct StageRehearsal {
  memory::Occupancy memory;
  backend::Ledger ledger;
  bool on_host = true;  ///< the device is the CPU
  Bytes driver = 0;     ///< memory::DeviceRoom::driver, on other devices

  /// What lies there: all of it on the CPU; else staging stays with the host.
  Bytes own_bytes() const { return on_host ? memory.total() : memory.device_bytes() + driver; }
};

struct Rehearsal {
  std::vector<StageRehearsal> stages;  ///< in the order of the backends
  OutsideBytes outside;
  std::int64_t n_prefill_steps = 1;

  Bytes peak_bytes() const;
  /// What lies in the host's memory: the program, all stages' staging, the CPU's stage.
  Bytes host_bytes() const;
  /// All that lies on the device of a stage; on the CPU host_bytes().
  Bytes bytes_on(std::size_t stage) const;
  /// The most of each region in any phase, of all devices together.
  memory::RegionSizes regions() const;
};

/// Exact bytes of each region, and the costs of the planned request.
Rehearsal rehearse(const Blueprint& model, const Configuration& configuration,
                   const backend::Backends& backends);

/// Reserves what was rehearsed, on each of the devices.
std::vector<memory::Arena> reserve(const Rehearsal& rehearsal, const backend::Backends& backends);

/// Measured when it is asked for, so after the model's files were opened. `opening` is left 0.
OutsideBytes outside_bytes(const Blueprint& model, const EngineOptions& options,
                           const Configuration& configuration, bool on_device);

/// Puts a rehearsal into the words of the public plan.
Plan describe_plan(const Blueprint& model, const Configuration& configuration,
                   const backend::Backends& backends, const Rehearsal& rehearsal);

/// How long devices take that hand `n_steps` steps of the same size from one to the next, each for all of
/// them `seconds`: they work at once but while the first step has not come to them, or the last one has
/// passed.
double pipeline_seconds(std::span<const double> seconds, std::int64_t n_steps);

/// Gives each phase its least time at the ceilings of each device. Measuring those takes tens of MiB for a
/// moment, so it is not for a process that then runs the model.
void time_phases(Plan& plan, const Rehearsal& rehearsal, const std::vector<MachineCeilings>& ceilings);

}  // namespace galago::runtime
