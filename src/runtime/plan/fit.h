// From options to a settled configuration: what they say, or, where there is a budget, the best that fits in
// it.
#pragma once

#include <string>
#include <vector>

#include "backend/backends.h"
#include "galago/options.h"
#include "galago/plan.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/configuration.h"
#include "runtime/plan/planner.h"

namespace galago::runtime {

/// A configuration with its exact plan, ready to be loaded.
struct Settled {
  Configuration configuration;
  Rehearsal rehearsal;
  Plan plan;
};

/// How far Plan::ladder goes: to the choice, or on to the smallest configuration.
enum class Ladder { until_chosen, whole };

/// Without a budget (EngineOptions::memory_limit) the options' own configuration. With one, the first of
/// fit_candidates() that fits; Plan::ladder tells what was looked at. Throws Error{memory} where nothing
/// fits, naming the smallest configuration and by how many bytes the budget misses, or the device whose share
/// is too small (LayerSplit). `opening`: OutsideBytes.
Settled settle(const Blueprint& model, const EngineOptions& options, const Demand& demand,
               const backend::Backends& backends, Bytes opening = 0, Ladder ladder = Ladder::until_chosen);

/// What a plan takes in all and, of that, for its KV pages.
struct KvPart {
  Bytes peak_bytes;
  Bytes kv_bytes;
};

/// How many bytes the KV pages may take: `fraction` (EngineOptions::kv_limit) of what `available` bytes leave
/// beside the rest of the plan; 0 where the rest alone is more.
double kv_allowance(double fraction, Bytes available, const KvPart& part);

/// What may be chosen under a budget, from the best quality downwards; what the options fix is the same in
/// all. The order is told and reasoned in docs/memory.md.
std::vector<Configuration> fit_candidates(const Blueprint& model, const EngineOptions& options,
                                          const Demand& demand);

/// "decoder as stored, tower int8, context 4096, chunks of 512, 1 tile at once, tower staged"
std::string describe_choice(const Configuration& configuration, const model::Description& description);

}  // namespace galago::runtime
