#include "runtime/plan/plan_subject.h"

#include <fmt/format.h>

#include <utility>

#include "runtime/backend_choice.h"
#include "runtime/load/model_path.h"
#include "runtime/load/shape_model.h"
#include "runtime/plan/attention_window.h"
#include "runtime/plan/fit.h"
#include "runtime/plan/machine.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"

namespace galago::runtime {
namespace {

Blueprint blueprint_of(const EngineOptions& options) {
  const auto from_files = [&] {
    const auto path = model_path(options.model, options.mmproj);
    return draw_blueprint(checkpoint::open_checkpoint(path.model, path.projector));
  };
  Blueprint model = options.shape.empty() ? from_files() : model_of_shape(options.shape);
  limit_tiles(options, model);
  limit_windows(options, model.description.decoder);
  return model;
}

}  // namespace

EngineOptions options_on_device(const EngineOptions& options) {
  const KnownDevice* card = find_device(options.device);
  if (card == nullptr) return options;
  EngineOptions on_card = options;
  on_card.device = "cpu";
  if (on_card.memory_limit == 0) on_card.memory_limit = card->memory_bytes;
  return on_card;
}

std::string describe_device(const KnownDevice& device) {
  return fmt::format("{} ({:.1f} GiB, {:.0f} GB/s)", device.name,
                     static_cast<double>(device.memory_bytes) / 0x1p30,
                     device.ceilings.bytes_per_second / 1e9);
}

PlanSubject::PlanSubject(const EngineOptions& options)
    : model(blueprint_of(options)), backends(open_backends(options_on_device(options))) {
  const KnownDevice* card = find_device(options.device);
  ceilings = card != nullptr ? std::vector{card->ceilings} : measure_all(backends);
  memory_bytes = card != nullptr ? card->memory_bytes : available_memory();
  if (options.memory_limit > 0) memory_bytes = options.memory_limit;
}

Plan PlanSubject::plan(EngineOptions options) const {
  options.memory_limit = 0;
  const Demand demand{options.workload ? shape_prompt_length(model, *options.workload) : 0,
                      largest_picture(model, options.workload)};
  Settled settled = settle(model, options, demand, backends);
  time_phases(settled.plan, settled.rehearsal, ceilings);
  return std::move(settled.plan);
}

}  // namespace galago::runtime
