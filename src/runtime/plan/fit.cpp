#include "runtime/plan/fit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/fail.h"
#include "runtime/plan/layer_split.h"
#include "runtime/plan/machine.h"

namespace galago::runtime {
namespace {

Settled settle_on(const Blueprint& model, const Configuration& configuration, const Rehearsal& rehearsal,
                  const LayerSplit& split) {
  Plan plan = describe_plan(model, configuration, split.backends(), rehearsal);
  split.describe(plan);
  return {configuration, rehearsal, std::move(plan)};
}

bool any_on_device(const backend::Backends& backends) {
  for (std::size_t i = 0; i < backends.size(); ++i) {
    if (backends[i].device_memory() != nullptr) return true;
  }
  return false;
}

Bytes kv_bytes(const Rehearsal& rehearsal) {
  return rehearsal.regions()[static_cast<std::size_t>(memory::RegionId::kv)];
}

/// The smallest budget that a plan fits in: its peak, or more where keys and values may have a part of the
/// rest only.
Bytes least_budget(const Rehearsal& rehearsal, const EngineOptions& options) {
  const Bytes peak = rehearsal.peak_bytes();
  if (!options.kv_limit) return peak;
  const Bytes kv = kv_bytes(rehearsal);
  const auto left_for_kv = static_cast<double>(kv) / *options.kv_limit;
  return std::max(peak, peak - std::min(kv, peak) + static_cast<Bytes>(std::ceil(left_for_kv)));
}

/// Without a budget the machine's free memory counts: the configuration with as long a context as the limit
/// allows, where it is not fixed; none where what was asked for is within it.
std::optional<Configuration> within_kv_limit(const Blueprint& model, const EngineOptions& options,
                                             const Demand& demand, const Configuration& asked,
                                             const Rehearsal& rehearsal) {
  if (!options.kv_limit) return std::nullopt;
  const Bytes available = available_memory();
  if (available == 0 || least_budget(rehearsal, options) <= available) return std::nullopt;
  const double allowed =
      kv_allowance(*options.kv_limit, available, {rehearsal.peak_bytes(), kv_bytes(rehearsal)});
  const auto page_bytes = static_cast<double>(kv_bytes(rehearsal)) / static_cast<double>(asked.n_pages());
  EngineOptions shorter = options;
  shorter.context = static_cast<std::int64_t>(allowed / page_bytes) / asked.batch * asked.page_tokens;
  if (options.context == 0 && !options.workload && shorter.context > 0) {
    return configure(shorter, model.description, demand);
  }
  fail(
      ErrorCode::memory,
      "keys and values of {} tokens take {} bytes, --kv-limit {} leaves them {:.0f} of the {} bytes that are "
      "free",
      asked.context, kv_bytes(rehearsal), *options.kv_limit, allowed, available);
}

/// A packed file is mapped in place of the host's memory, and made of files.
void check_packed(const EngineOptions& options, const backend::Backends& backends) {
  if (options.packed.empty()) return;
  if (backends.size() > 1 || any_on_device(backends)) {
    fail(ErrorCode::usage,
         "{}: a packed file is for models on the CPU alone (--device cpu), {} was chosen; leave it out",
         options.packed.string(), backends.size() > 1 ? "more than one device" : backends[0].name());
  }
  if (!options.shape.empty()) {
    fail(ErrorCode::usage, "{}: a packed file keeps a model's weights, the shape {} has none",
         options.packed.string(), options.shape);
  }
}

/// Nothing where the device cannot do what was not asked for.
template <class Make>
std::optional<Rehearsal> if_possible(Make&& make) {
  try {
    return make();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::usage) throw;
    return std::nullopt;
  }
}

/// `least`: the candidate that takes the least, and its plan.
[[noreturn]] void fail_too_small(const Blueprint& model, const EngineOptions& options,
                                 const LayerSplit& split, const std::pair<Configuration, Rehearsal>& least) {
  const auto& [configuration, rehearsal] = least;
  const Bytes peak = least_budget(rehearsal, options);
  if (peak <= options.memory_limit) split.check(configuration, rehearsal);
  fail(ErrorCode::memory,
       "{}: nothing fits in a budget of {} bytes; the smallest configuration ({}) needs {}: {} bytes too few",
       model.checkpoint.directory.string(), options.memory_limit,
       describe_choice(configuration, model.description), peak, peak - options.memory_limit);
}

/// The first candidate that fits.
Settled settle_within_budget(const Blueprint& model, const EngineOptions& options,
                             std::vector<Configuration> candidates, const LayerSplit& split, Ladder ladder) {
  std::vector<PlanCandidate> tried;
  std::optional<std::pair<Configuration, Rehearsal>> least;
  std::optional<Settled> settled;
  for (Configuration& candidate : candidates) {
    const std::optional<Rehearsal> planned =
        tried.empty() ? split.settle(candidate) : if_possible([&] { return split.settle(candidate); });
    if (!planned) continue;
    const Bytes peak = least_budget(*planned, options);
    const bool fits = peak <= options.memory_limit && split.fits(*planned);
    tried.push_back({describe_choice(candidate, model.description), peak, fits});
    if (!least || peak < least_budget(least->second, options)) least.emplace(candidate, *planned);
    if (fits && !settled) settled = settle_on(model, candidate, *planned, split);
    if (settled && ladder == Ladder::until_chosen) break;
  }
  if (!settled) fail_too_small(model, options, split, *least);
  settled->plan.budget_bytes = options.memory_limit;
  settled->plan.ladder = std::move(tried);
  return std::move(*settled);
}

/// The next picture beside the present one, where budget, shares and what the machine has free leave room.
Settled with_next_picture(const Blueprint& model, const EngineOptions& options, Settled settled,
                          const LayerSplit& split) {
  if (options.next_picture_bytes == 0 || !settled.configuration.with_pictures) return settled;
  Rehearsal wider = settled.rehearsal;
  wider.outside.decoding += options.next_picture_bytes;
  const Bytes available = available_memory();
  if (options.memory_limit > 0 && least_budget(wider, options) > options.memory_limit) return settled;
  if ((available > 0 && wider.host_bytes() > available) || !split.fits(wider)) return settled;
  Settled with_next = settle_on(model, settled.configuration, wider, split);
  with_next.plan.decodes_ahead = true;
  with_next.plan.budget_bytes = settled.plan.budget_bytes;
  with_next.plan.ladder = std::move(settled.plan.ladder);
  return with_next;
}

}  // namespace

double kv_allowance(double fraction, Bytes available, const KvPart& part) {
  const Bytes others = part.peak_bytes - std::min(part.kv_bytes, part.peak_bytes);
  return fraction * static_cast<double>(available - std::min(others, available));
}

Settled settle(const Blueprint& model, const EngineOptions& options, const Demand& demand,
               const backend::Backends& backends, Bytes opening, Ladder ladder) {
  check_packed(options, backends);
  Configuration configuration = configure(options, model.description, demand);
  OutsideBytes outside = outside_bytes(model, options, configuration, any_on_device(backends));
  outside.opening = opening;
  const LayerSplit split(model, options, backends, outside);
  if (options.memory_limit > 0) {
    auto chosen = settle_within_budget(model, options, fit_candidates(model, options, demand), split, ladder);
    return with_next_picture(model, options, std::move(chosen), split);
  }
  Rehearsal rehearsal = split.settle(configuration);
  if (auto shorter = within_kv_limit(model, options, demand, configuration, rehearsal)) {
    configuration = std::move(*shorter);
    rehearsal = split.settle(configuration);
  }
  split.check(configuration, rehearsal);
  return with_next_picture(model, options, settle_on(model, configuration, rehearsal, split), split);
}

std::string describe_choice(const Configuration& configuration, const model::Description& description) {
  std::string text = fmt::format("decoder {}", short_name(configuration.decoder_format));
  const auto add_part = [&](const char* part, const std::optional<WeightFormat>& format) {
    if (format != configuration.decoder_format) text += fmt::format(", {} {}", part, short_name(format));
  };
  add_part("embeddings", configuration.embeddings_format);
  if (!description.decoder.tied_embeddings) add_part("output", configuration.output_format);
  if (description.tower) text += fmt::format(", tower {}", short_name(configuration.tower_format));
  text += fmt::format(", KV {}, context {}, chunks of {}", short_name(configuration.kv_format),
                      configuration.context, configuration.prefill_chunk);
  if (configuration.mlp_rows > 0) text += fmt::format(", {} rows in an MLP", configuration.mlp_rows);
  if (configuration.window > 0 && configuration.window < configuration.context) {
    text += fmt::format(", window {} beside {} sinks", configuration.window, configuration.sinks);
  }
  if (configuration.batch > 1) text += fmt::format(", {} requests at once", configuration.batch);
  if (configuration.with_pictures) {
    text += fmt::format(", {} tile{} at once, tower {}", configuration.tile_batch,
                        configuration.tile_batch == 1 ? "" : "s",
                        configuration.tower_staged ? "staged" : "resident");
    if (configuration.tower_staged && configuration.kept_pictures > 1) {
      text += fmt::format(" after {} pictures", configuration.kept_pictures);
    }
  }
  if (configuration.streamed_layers > 0) {
    text += fmt::format(", {} of {} layers streamed", configuration.streamed_layers,
                        description.decoder.n_layers);
  }
  if (configuration.stage_layers.size() > 1) {
    text += fmt::format(", layers {}", fmt::join(configuration.stage_layers, " + "));
  }
  return text;
}

}  // namespace galago::runtime
