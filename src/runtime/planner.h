// Plans a model: rehearses its largest request with an arena and a queue that only count.
#pragma once

#include "backend/backend.h"
#include "galago/plan.h"
#include "memory/arena.h"
#include "runtime/configuration.h"
#include "runtime/model_files.h"

namespace galago::runtime {

struct Rehearsal {
  memory::RegionSizes regions{};
  backend::Ledger ledger;
};

/// Exact bytes of each region, and the costs of the planned request.
Rehearsal rehearse(const Blueprint& model, const Configuration& configuration, backend::Backend& backend);

/// Bytes outside the arena: the program itself, its libraries, tokenizer and tables. Measured when it is
/// asked for, so after the model's files were opened.
Bytes runtime_bytes();

/// Puts a rehearsal into the words of the public plan.
Plan describe_plan(const Blueprint& model, const Configuration& configuration, backend::Backend& backend,
                   const Rehearsal& rehearsal);

/// Measures the machine's ceilings and gives each phase its least time at them. Takes tens of MiB for a
/// moment, so not for a process that then runs the model.
void time_phases(Plan& plan, const Rehearsal& rehearsal, backend::Backend& backend);

/// Throws Error{memory} when the plan is above `limit` bytes (0: what the machine has available).
void check_fits(const Plan& plan, std::uint64_t limit);

}  // namespace galago::runtime
