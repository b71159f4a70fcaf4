#include "runtime/plan/planner.h"

#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "runtime/executor.h"
#include "runtime/plan/fit.h"
#include "runtime/plan/machine.h"
#include "runtime/preprocessor.h"
#include "runtime/report/words.h"
#include "runtime/sequence_cache.h"

namespace galago::runtime {
namespace {

using memory::RegionId;

/// Each device's regions, then what is outside them: names for the plan, sizes for each of its phases.
void describe_regions(const Rehearsal& rehearsal, const backend::Backends& backends, Plan& plan) {
  for (std::size_t i = 0; i < backends.size(); ++i) {
    const memory::RegionSizes sizes = rehearsal.stages[i].memory.regions();
    for (const RegionId id : memory::all_regions) {
      plan.regions.push_back({region_text(name_of(id), backends[i].name(), backends.size()),
                              sizes[static_cast<std::size_t>(id)], std::string(purpose_of(id))});
    }
  }
  const OutsideBytes& outside = rehearsal.outside;
  plan.regions.push_back(
      {"runtime", outside.runtime, "the program, its libraries, the tokenizer, a request's text"});
  plan.regions.push_back({"decoding", outside.decoding, "a picture file being decoded and cut to tiles"});
  for (std::size_t i = 0; i < backends.size(); ++i) {
    if (rehearsal.stages[i].driver == 0) continue;
    plan.regions.push_back({region_text("driver", backends[i].name(), backends.size()),
                            rehearsal.stages[i].driver,
                            "the device's memory that its driver and libraries take"});
  }
}

PhasePlan describe_phase(const Rehearsal& rehearsal, backend::Phase phase) {
  backend::Cost total;
  PhasePlan plan{std::string(name_of(phase)), 0, 0, 0, 0};
  for (const StageRehearsal& stage : rehearsal.stages) {
    total += stage.ledger.total(phase);
    const memory::RegionSizes& sizes = stage.memory.by_phase[static_cast<std::size_t>(phase)];
    plan.region_bytes.insert(plan.region_bytes.end(), sizes.begin(), sizes.end());
  }
  plan.flops = total.flops;
  plan.bytes_read = total.bytes_read;
  plan.bytes_written = total.bytes_written;
  plan.region_bytes.push_back(rehearsal.outside.runtime);
  plan.region_bytes.push_back(phase == backend::Phase::load ? 0 : rehearsal.outside.decoding);
  for (const StageRehearsal& stage : rehearsal.stages) {
    if (stage.driver > 0) plan.region_bytes.push_back(stage.driver);
  }
  plan.peak_bytes = std::accumulate(plan.region_bytes.begin(), plan.region_bytes.end(), Bytes{0});
  return plan;
}

void describe_devices(const Configuration& configuration, const backend::Backends& backends,
                      const Rehearsal& rehearsal, Plan& plan) {
  for (std::size_t i = 0; i < backends.size(); ++i) {
    const model::LayerRange layers = configuration.layers_of(i);
    const std::string name = backends[i].name();
    plan.devices.push_back({name, layers.first, layers.count(), rehearsal.bytes_on(i)});
    if (i > 0) plan.device += ", ";
    plan.device += fmt::format("{} ({})", name, backends[i].description());
  }
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

Bytes Rehearsal::host_bytes() const {
  Bytes bytes = outside.runtime + outside.decoding;
  for (const StageRehearsal& stage : stages) {
    bytes += stage.memory.total() - (stage.on_host ? 0 : stage.memory.device_bytes());
  }
  return bytes;
}

Bytes Rehearsal::bytes_on(std::size_t stage) const {
  return stages[stage].on_host ? host_bytes() : stages[stage].own_bytes();
}

Bytes Rehearsal::peak_bytes() const {
  Bytes bytes = host_bytes();
  for (const StageRehearsal& stage : stages) bytes += stage.on_host ? 0 : stage.own_bytes();
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
  rehearsal.n_prefill_steps = configuration.n_prefill_steps();
  for (std::size_t i = 0; i < executor.n_stages(); ++i) {
    memory::DeviceMemory* const device = backends[i].device_memory();
    rehearsal.stages.push_back({executor.arena(i).occupancy(), executor.stage(i).queue().ledger(),
                                device == nullptr, device == nullptr ? 0 : device->room().driver});
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
  // Of each request in work: the prompt's tokens and keys, and a bit for each word that was said. Of each
  // sequence: its page table and keys. Strings and rounding.
  constexpr Bytes per_token = 36, per_word = 1, per_cached_token = 9, strings = 768 << 10;
  const auto batch = static_cast<Bytes>(configuration.batch);
  const auto context = static_cast<Bytes>(configuration.context);
  OutsideBytes outside;
  outside.runtime =
      program_bytes(on_device) + strings + (batch + kept_sequences) * per_cached_token * context +
      batch * (per_token * context + per_word * static_cast<Bytes>(model.description.decoder.vocab_size));
  if (!configuration.with_pictures || options.picture_bytes == 0) return outside;
  // Cutting takes lines and coefficients that the picture's own bytes exceed, too.
  outside.decoding = options.picture_bytes + Preprocessor::scratch_bytes(*model.image, configuration);
  return outside;
}

Plan describe_plan(const Blueprint& model, const Configuration& configuration,
                   const backend::Backends& backends, const Rehearsal& rehearsal) {
  Plan plan;
  plan.model = model.checkpoint.directory.string();
  plan.family = model.checkpoint.family;
  describe_devices(configuration, backends, rehearsal, plan);
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
  plan.mlp_rows = configuration.mlp_rows;
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
  plan.window = configuration.window;
  plan.sinks = configuration.sinks;
  describe_regions(rehearsal, backends, plan);
  plan.peak_bytes = rehearsal.peak_bytes();
  if (rehearsal.outside.opening > 0) {
    plan.phases.push_back(describe_opening(plan, rehearsal.outside.opening));
  }
  using backend::Phase;
  for (const Phase phase : {Phase::load, Phase::encode, Phase::prefill, Phase::decode}) {
    if (phase == Phase::encode && !configuration.with_pictures) continue;
    plan.phases.push_back(describe_phase(rehearsal, phase));
  }
  return plan;
}

double pipeline_seconds(std::span<const double> seconds, std::int64_t n_steps) {
  const double slowest = *std::max_element(seconds.begin(), seconds.end());
  const double others = std::accumulate(seconds.begin(), seconds.end(), 0.0) - slowest;
  return slowest + others / static_cast<double>(n_steps);
}

void time_phases(Plan& plan, const Rehearsal& rehearsal, const std::vector<MachineCeilings>& ceilings) {
  plan.ceilings = ceilings.front();
  for (std::size_t i = 0; i < ceilings.size(); ++i) plan.devices[i].ceilings = ceilings[i];
  for (PhasePlan& phase : plan.phases) {
    for (const backend::Phase id :
         {backend::Phase::encode, backend::Phase::prefill, backend::Phase::decode}) {
      if (phase.name != name_of(id)) continue;
      std::vector<double> seconds;
      for (std::size_t i = 0; i < ceilings.size(); ++i) {
        seconds.push_back(roofline_seconds(rehearsal.stages[i].ledger, id, ceilings[i]));
      }
      phase.seconds =
          pipeline_seconds(seconds, id == backend::Phase::prefill ? rehearsal.n_prefill_steps : 1);
    }
  }
}

}  // namespace galago::runtime
