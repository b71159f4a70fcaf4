#include "runtime/fit.h"

#include <fmt/format.h>

#include <utility>

#include "base/fail.h"
#include "runtime/machine.h"

namespace galago::runtime {
namespace {

Settled settle_on(const Blueprint& model, const Configuration& configuration, Rehearsal rehearsal,
                  backend::Backend& backend) {
  Plan plan = describe_plan(model, configuration, backend, rehearsal);
  return {configuration, std::move(rehearsal), std::move(plan)};
}

}  // namespace

Settled settle(const Blueprint& model, const EngineOptions& options, const Demand& demand,
               backend::Backend& backend, Bytes opening) {
  const std::uint64_t budget = options.memory_limit;
  const Configuration asked = configure(options, model.description, demand);
  OutsideBytes outside = outside_bytes(model, options, asked);
  outside.opening = opening;
  const auto plan_for = [&](const Configuration& configuration) {
    Rehearsal rehearsal = rehearse(model, configuration, backend);
    rehearsal.outside = outside;
    return rehearsal;
  };
  if (budget == 0) return settle_on(model, asked, plan_for(asked), backend);

  std::vector<PlanCandidate> tried;
  std::size_t smallest = 0;
  for (const Configuration& candidate : fit_candidates(model, options, demand)) {
    Rehearsal rehearsal = plan_for(candidate);
    const Bytes peak = rehearsal.peak_bytes();
    tried.push_back({describe_choice(candidate, model.description), peak, peak <= budget});
    if (peak < tried[smallest].peak_bytes) smallest = tried.size() - 1;
    if (peak > budget) continue;
    Settled settled = settle_on(model, candidate, std::move(rehearsal), backend);
    settled.plan.budget_bytes = budget;
    settled.plan.ladder = std::move(tried);
    return settled;
  }
  const PlanCandidate& least = tried[smallest];
  fail(ErrorCode::memory,
       "{}: nothing fits in a budget of {} bytes; the smallest configuration ({}) needs {}: {} bytes too few",
       model.checkpoint.directory.string(), budget, least.choice, least.peak_bytes,
       least.peak_bytes - budget);
}

void check_machine(const Plan& plan, const EngineOptions& options) {
  const std::uint64_t total = total_memory();
  if (total > 0 && options.memory_limit > total) {
    fail(ErrorCode::memory, "a budget of {} bytes was given, this machine has {}", options.memory_limit,
         total);
  }
  const std::uint64_t available = available_memory();
  if (available == 0 || plan.peak_bytes <= available) return;
  fail(ErrorCode::memory,
       "{} needs {} bytes and the machine has {} free: {} bytes too few; --memory {} finds a configuration "
       "that fits, if there is one",
       plan.model, plan.peak_bytes, available, plan.peak_bytes - available, available);
}

std::string describe_choice(const Configuration& configuration, const model::Description& description) {
  std::string text = fmt::format("decoder {}", describe_format(configuration.decoder_format));
  if (description.tower) text += fmt::format(", tower {}", describe_format(configuration.tower_format));
  text += fmt::format(", KV {}, context {}, chunks of {}", describe(configuration.kv_format),
                      configuration.context, configuration.prefill_chunk);
  if (configuration.with_pictures) {
    text += fmt::format(", {} tile{} at once, tower {}", configuration.tile_batch,
                        configuration.tile_batch == 1 ? "" : "s",
                        configuration.tower_staged ? "staged" : "resident");
  }
  if (configuration.streamed_layers > 0) {
    text += fmt::format(", {} of {} layers streamed", configuration.streamed_layers,
                        description.decoder.n_layers);
  }
  return text;
}

}  // namespace galago::runtime
