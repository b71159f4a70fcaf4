#include "runtime/planner.h"

#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "runtime/executor.h"
#include "runtime/fit.h"
#include "runtime/machine.h"
#include "runtime/sequence_cache.h"

namespace galago::runtime {
namespace {

using memory::RegionId;

PhasePlan describe_phase(const Rehearsal& rehearsal, backend::Phase phase) {
  backend::Cost total;
  memory::RegionSizes sizes{};
  for (const StageRehearsal& stage : rehearsal.stages) {
    total += stage.ledger.total(phase);
    const memory::RegionSizes& here = stage.memory.by_phase[static_cast<std::size_t>(phase)];
    for (std::size_t i = 0; i < memory::n_regions; ++i) sizes[i] += here[i];
  }
  PhasePlan plan{std::string(name_of(phase)), total.flops, total.bytes_read, total.bytes_written, 0};
  plan.region_bytes.assign(sizes.begin(), sizes.end());
  plan.peak_bytes = std::accumulate(sizes.begin(), sizes.end(), Bytes{0});
  const OutsideBytes& outside = rehearsal.outside;
  const Bytes decoding = phase == backend::Phase::load ? 0 : outside.decoding;
  plan.region_bytes.push_back(outside.runtime);
  plan.region_bytes.push_back(decoding);
  if (outside.driver > 0) plan.region_bytes.push_back(outside.driver);
  plan.peak_bytes += outside.runtime + decoding + outside.driver;
  return plan;
}

/// Reading headers, configuration and tokenizer, before anything is reserved.
PhasePlan describe_opening(const Plan& plan, Bytes opening) {
  PhasePlan phase{"open", 0, 0, 0, 0};
  for (const RegionPlan& region : plan.regions) {
    phase.region_bytes.push_back(region.name == "runtime" ? opening : 0);
  }
  phase.peak_bytes = opening;
  return phase;
}

}  // namespace

Bytes Rehearsal::peak_bytes() const {
  Bytes bytes = outside.runtime + outside.decoding + outside.driver;
  for (const StageRehearsal& stage : stages) bytes += stage.memory.total();
  return std::max(outside.opening, bytes);
}

memory::RegionSizes Rehearsal::regions() const {
  memory::RegionSizes sum{};
  for (const StageRehearsal& stage : stages) {
    const memory::RegionSizes sizes = stage.memory.regions();
    for (std::size_t i = 0; i < memory::n_regions; ++i) sum[i] += sizes[i];
  }
  return sum;
}

Rehearsal rehearse(const Blueprint& model, const Configuration& configuration,
                   const backend::Backends& backends) {
  std::vector<memory::Arena> arenas;
  for (std::size_t i = 0; i < backends.size(); ++i) {
    arenas.push_back(memory::Arena::planning(configuration.lasting_regions(i), backends[i].device_memory()));
  }
  Executor executor(model.checkpoint, model.description, configuration, backends, std::move(arenas));
  executor.rehearse();
  Rehearsal rehearsal;
  for (std::size_t i = 0; i < executor.n_stages(); ++i) {
    rehearsal.stages.push_back({executor.arena(i).occupancy(), executor.stage(i).queue().ledger()});
  }
  return rehearsal;
}

std::vector<memory::Arena> reserve(const Rehearsal& rehearsal, const backend::Backends& backends) {
  std::vector<memory::Arena> arenas;
  for (std::size_t i = 0; i < backends.size(); ++i) {
    arenas.push_back(memory::Arena::laid_out(rehearsal.stages[i].memory, backends[i].device_memory()));
  }
  return arenas;
}

OutsideBytes outside_bytes(const Blueprint& model, const EngineOptions& options,
                           const Configuration& configuration, bool on_device) {
  // Of each request in work: the prompt's tokens and keys, and candidates of the sampler. Of each sequence:
  // its page table and keys. Strings and rounding.
  constexpr Bytes per_token = 36, per_word = 24, per_cached_token = 9, strings = 768 << 10;
  const auto batch = static_cast<Bytes>(configuration.batch);
  const auto context = static_cast<Bytes>(configuration.context);
  OutsideBytes outside;
  outside.runtime =
      program_bytes(on_device) + strings + (batch + kept_sequences) * per_cached_token * context +
      batch * (per_token * context + per_word * static_cast<Bytes>(model.description.decoder.vocab_size));
  if (!configuration.with_pictures || options.picture_bytes == 0) return outside;
  // Cutting takes 16 bytes a pixel of a tile, and rows and coefficients that the picture's own bytes exceed.
  const vision::Size& tile = model.image->tile;
  outside.decoding = options.picture_bytes + 16 * static_cast<Bytes>(tile.width * tile.height);
  return outside;
}

Plan describe_plan(const Blueprint& model, const Configuration& configuration,
                   const backend::Backends& backends, const Rehearsal& rehearsal) {
  Plan plan;
  plan.model = model.checkpoint.directory.string();
  plan.family = model.checkpoint.family;
  plan.device = fmt::format("{} ({})", backends.front().name(), backends.front().description());
  plan.precision = describe_format(configuration.decoder_format);
  plan.embeddings_precision = describe_format(configuration.embeddings_format);
  plan.output_precision =
      describe_format(model.description.decoder.tied_embeddings ? configuration.embeddings_format
                                                                : configuration.output_format);
  plan.tower_precision = model.description.tower ? describe_format(configuration.tower_format) : "none";
  plan.kv_precision = describe(configuration.kv_format);
  plan.context = configuration.context;
  plan.streamed_layers = configuration.streamed_layers;
  plan.prefill_chunk = configuration.prefill_chunk;
  if (configuration.with_pictures) {
    plan.image_tokens = configuration.picture.n_tokens;
    plan.image_tiles = configuration.picture.n_tiles;
    plan.tile_batch = configuration.tile_batch;
    plan.tower_staged = configuration.tower_staged;
    plan.encode_batch = configuration.tower_staged ? configuration.kept_pictures : 0;
  }
  plan.choice = describe_choice(configuration, model.description);
  plan.batch = configuration.batch;
  plan.page_tokens = configuration.page_tokens;
  plan.n_pages = configuration.n_pages();
  const memory::RegionSizes regions = rehearsal.regions();
  for (const RegionId id : memory::all_regions) {
    const Bytes bytes = regions[static_cast<std::size_t>(id)];
    plan.regions.push_back({std::string(name_of(id)), bytes, std::string(purpose_of(id))});
  }
  const OutsideBytes& outside = rehearsal.outside;
  plan.regions.push_back(
      {"runtime", outside.runtime, "the program, its libraries, the tokenizer, a request's text"});
  plan.regions.push_back({"decoding", outside.decoding, "a picture file being decoded and cut to tiles"});
  if (outside.driver > 0) {
    plan.regions.push_back(
        {"driver", outside.driver, "the device's memory that its driver and libraries took"});
  }
  plan.peak_bytes = rehearsal.peak_bytes();
  if (outside.opening > 0) plan.phases.push_back(describe_opening(plan, outside.opening));
  using backend::Phase;
  for (const Phase phase : {Phase::load, Phase::encode, Phase::prefill, Phase::decode}) {
    if (phase == Phase::encode && !configuration.with_pictures) continue;
    plan.phases.push_back(describe_phase(rehearsal, phase));
  }
  return plan;
}

void time_phases(Plan& plan, const Rehearsal& rehearsal, const MachineCeilings& ceilings) {
  plan.ceilings = ceilings;
  for (PhasePlan& phase : plan.phases) {
    for (const backend::Phase id :
         {backend::Phase::encode, backend::Phase::prefill, backend::Phase::decode}) {
      if (phase.name != name_of(id)) continue;
      for (const StageRehearsal& stage : rehearsal.stages) {
        phase.seconds += roofline_seconds(stage.ledger, id, ceilings);
      }
    }
  }
}

}  // namespace galago::runtime
