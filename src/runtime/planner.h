// Plans a model: rehearses its largest request with an arena and a queue that only count.
#pragma once

#include <algorithm>
#include <vector>

#include "backend/backends.h"
#include "galago/options.h"
#include "galago/plan.h"
#include "memory/arena.h"
#include "runtime/configuration.h"
#include "runtime/model_files.h"

namespace galago::runtime {

/// Memory outside the arena.
struct OutsideBytes {
  Bytes opening = 0;   ///< of the whole process at its most, while the model's files were opened
  Bytes runtime = 0;   ///< the program, its libraries, tokenizer and tables, and what a request needs of them
  Bytes decoding = 0;  ///< a picture being decoded and cut
  Bytes driver = 0;    ///< memory::DeviceRoom::driver, on a device
};

/// What a rehearsal takes of one device.
struct StageRehearsal {
  memory::Occupancy memory;
  backend::Ledger ledger;
};

struct Rehearsal {
  std::vector<StageRehearsal> stages;  ///< in the order of the backends
  OutsideBytes outside;

  Bytes peak_bytes() const;
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

/// Gives each phase its least time at the ceilings. Measuring those takes tens of MiB for a moment, so it is
/// not for a process that then runs the model.
void time_phases(Plan& plan, const Rehearsal& rehearsal, const MachineCeilings& ceilings);

}  // namespace galago::runtime
