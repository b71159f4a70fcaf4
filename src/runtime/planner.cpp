#include "runtime/planner.h"

#include <fmt/format.h>

#include "base/fail.h"
#include "runtime/executor.h"
#include "runtime/machine.h"

namespace galago::runtime {
namespace {

using memory::RegionId;

PhasePlan describe_phase(const backend::Ledger& ledger, backend::Phase phase) {
  const backend::Cost total = ledger.total(phase);
  return {std::string(name_of(phase)), total.flops, total.bytes_read, total.bytes_written, 0};
}

}  // namespace

Rehearsal rehearse(const Blueprint& model, const Configuration& configuration, backend::Backend& backend) {
  Executor executor(model.checkpoint, model.description, configuration, backend,
                    memory::Arena::planning(backend.device_memory()));
  executor.rehearse();
  return {executor.arena().high_water(), executor.ledger()};
}

Bytes runtime_bytes() {
  return process_memory().resident_bytes;
}

Plan describe_plan(const Blueprint& model, const Configuration& configuration, backend::Backend& backend,
                   const Rehearsal& rehearsal) {
  Plan plan;
  plan.model = model.checkpoint.directory.string();
  plan.family = model.checkpoint.family;
  plan.device = fmt::format("{} ({})", backend.name(), backend.description());
  plan.precision = describe_format(configuration.decoder_format);
  plan.tower_precision = model.description.tower ? describe_format(configuration.tower_format) : "none";
  plan.kv_precision = describe(configuration.kv_format);
  plan.context = configuration.context;
  plan.prefill_chunk = configuration.prefill_chunk;
  if (configuration.with_pictures) {
    plan.image_tokens = configuration.picture.n_tokens;
    plan.image_tiles = configuration.picture.n_tiles;
    plan.tile_batch = configuration.tile_batch;
  }
  plan.page_tokens = configuration.page_tokens;
  plan.n_pages = configuration.n_pages();
  for (std::size_t i = 0; i < memory::n_regions; ++i) {
    const auto id = static_cast<RegionId>(i);
    plan.regions.push_back({std::string(name_of(id)), rehearsal.regions[i], std::string(purpose_of(id))});
  }
  plan.regions.push_back({"runtime", runtime_bytes(), "the program, its libraries, the tokenizer"});
  for (const RegionPlan& region : plan.regions) plan.peak_bytes += region.bytes;
  if (configuration.with_pictures) {
    plan.phases.push_back(describe_phase(rehearsal.ledger, backend::Phase::encode));
  }
  plan.phases.push_back(describe_phase(rehearsal.ledger, backend::Phase::prefill));
  plan.phases.push_back(describe_phase(rehearsal.ledger, backend::Phase::decode));
  return plan;
}

void time_phases(Plan& plan, const Rehearsal& rehearsal, backend::Backend& backend) {
  plan.ceilings = measure_ceilings(backend);
  for (PhasePlan& phase : plan.phases) {
    for (const backend::Phase id :
         {backend::Phase::encode, backend::Phase::prefill, backend::Phase::decode}) {
      if (phase.name != name_of(id)) continue;
      for (const backend::Cost& cost : rehearsal.ledger.costs[static_cast<std::size_t>(id)]) {
        phase.seconds += roofline_seconds(cost, plan.ceilings);
      }
    }
  }
}

void check_fits(const Plan& plan, std::uint64_t limit) {
  const std::uint64_t available = limit > 0 ? limit : available_memory();
  if (available == 0 || plan.peak_bytes <= available) return;
  fail(ErrorCode::memory,
       "{} needs {} bytes and {} {}: {} bytes too few; a smaller --context ({} now) or --precision fp16 "
       "needs less",
       plan.model, plan.peak_bytes, limit > 0 ? "--memory allows" : "the machine has", available,
       plan.peak_bytes - available, plan.context);
}

}  // namespace galago::runtime
