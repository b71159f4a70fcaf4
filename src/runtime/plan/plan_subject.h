// What a plan is made for: a model without its tokenizer, and a device, this machine's or a known card.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "galago/options.h"
#include "galago/plan.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/known_devices.h"

namespace galago::runtime {

/// The options as they are planned: a card's name is replaced by the CPU, whose operations stand for the
/// card's, and its memory is the budget where none is given.
EngineOptions options_on_device(const EngineOptions& options);

/// "rtx4090 (24.0 GiB, 1008 GB/s)"
std::string describe_device(const KnownDevice& device);

struct PlanSubject {
  explicit PlanSubject(const EngineOptions& options);

  /// The plan, with its times, of the options' workload, whatever the budget is.
  Plan plan(EngineOptions options) const;

  Blueprint model;
  std::vector<std::unique_ptr<backend::Backend>> backends;
  std::vector<MachineCeilings> ceilings;  ///< of each
  Bytes memory_bytes = 0;                 ///< the budget, or what the device has
};

}  // namespace galago::runtime
