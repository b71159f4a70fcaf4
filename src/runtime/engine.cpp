#include "galago/engine.h"

#include <fmt/format.h>

#include <utility>

#include "base/fail.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/shapes.h"
#include "runtime/backend_choice.h"
#include "runtime/executor.h"
#include "runtime/generation.h"
#include "runtime/load/adapters.h"
#include "runtime/load/model_files.h"
#include "runtime/load/model_path.h"
#include "runtime/load/model_tokenizer.h"
#include "runtime/load/shape_model.h"
#include "runtime/plan/attention_window.h"
#include "runtime/plan/fit.h"
#include "runtime/plan/machine.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/plan_subject.h"
#include "runtime/plan/planner.h"
#include "runtime/plan/room_check.h"
#include "runtime/prompt.h"
#include "runtime/report/collect.h"
#include "runtime/scheduler.h"

namespace galago {
namespace {

runtime::ModelFiles open_files(const EngineOptions& options) {
  if (!options.shape.empty()) {
    fail(ErrorCode::usage,
         "the shape {} has neither weights nor a tokenizer: it can be planned and measured, not run",
         options.shape);
  }
  const auto path = runtime::model_path(options.model, options.mmproj);
  runtime::ModelFiles files = runtime::open_model(path.model, options.chat_format, path.projector);
  runtime::add_adapters(files, options.adapters);
  runtime::merge_adapters(files, options.merged_adapters);
  runtime::limit_tiles(options, files);
  runtime::limit_windows(options, files.description.decoder);
  return files;
}

enum class PlannedFor { this_machine, another_machine };

/// Everything settled but nothing reserved: what plan_model() and Engine have in common.
struct Prepared {
  explicit Prepared(const EngineOptions& options, PlannedFor machine = PlannedFor::this_machine,
                    runtime::Ladder ladder = runtime::Ladder::until_chosen)
      : before(runtime::process_memory()),
        files(open_files(options)),
        backends(runtime::open_backends(options)),
        settled(runtime::settle(files, options, demand(options), backends, opening(), ladder)) {
    settled.plan.chat_format = files.chat.format.name();
    settled.plan.notice = files.chat.notice;
    if (machine == PlannedFor::another_machine) return;
    runtime::check_room(files, options, demand(options), backends, settled);
  }

  runtime::Demand demand(const EngineOptions& options) const {
    std::optional<Workload> workload = options.workload;
    // A workload has a picture unless it says otherwise; what a text model is asked has none.
    if (workload && !files.description.tower) workload->n_images = 0;
    return {workload ? runtime::prompt_length(files, *workload) : 0,
            runtime::largest_picture(files, workload)};
  }

  /// The peak that opening the files was; 0 where the process had been larger before.
  Bytes opening() const {
    const Bytes peak = runtime::process_memory().peak_resident_bytes;
    return peak > before.peak_resident_bytes ? peak : 0;
  }

  runtime::ProcessMemory before;
  runtime::ModelFiles files;
  std::vector<std::unique_ptr<backend::Backend>> backends;
  runtime::Settled settled;
};

}  // namespace

Plan plan_model(const EngineOptions& asked) {
  const runtime::KnownDevice* card = runtime::find_device(asked.device);
  const EngineOptions options = runtime::options_on_device(asked);
  const auto finish = [&](runtime::Settled& settled, const backend::Backends& backends) {
    runtime::time_phases(settled.plan, settled.rehearsal,
                         card != nullptr ? std::vector{card->ceilings} : runtime::measure_all(backends));
    if (card != nullptr) settled.plan.device = runtime::describe_device(*card);
    return settled.plan;
  };
  if (options.shape.empty()) {
    Prepared prepared(options, card != nullptr ? PlannedFor::another_machine : PlannedFor::this_machine,
                      runtime::Ladder::whole);
    return finish(prepared.settled, prepared.backends);
  }
  runtime::Blueprint model = runtime::model_of_shape(options.shape);
  runtime::limit_tiles(options, model);
  runtime::limit_windows(options, model.description.decoder);
  const std::vector<std::unique_ptr<backend::Backend>> backends = runtime::open_backends(options);
  const runtime::Demand demand{options.workload ? runtime::shape_prompt_length(model, *options.workload) : 0,
                               runtime::largest_picture(model, options.workload)};
  runtime::Settled settled = runtime::settle(model, options, demand, backends, 0, runtime::Ladder::whole);
  return finish(settled, backends);
}

std::vector<std::string> known_device_names() {
  std::vector<std::string> names;
  for (const runtime::KnownDevice& device : runtime::known_devices()) names.push_back(device.name);
  return names;
}

std::vector<std::string> known_shape_names() {
  std::vector<std::string> names;
  for (const checkpoint::KnownShape& shape : checkpoint::known_shapes()) names.push_back(shape.name);
  return names;
}

struct Engine::State {
  explicit State(const EngineOptions& options)
      : prepared(options),
        executor(prepared.files.checkpoint, prepared.files.description, prepared.settled.configuration,
                 prepared.backends, runtime::reserve(prepared.settled.rehearsal, prepared.backends)),
        generation(prepared.files, executor),
        scheduler(generation, prepared.settled.configuration.batch) {}

  Prepared prepared;
  runtime::Executor executor;
  runtime::Generation generation;
  runtime::Scheduler scheduler;
  Timing profiled;  // of all requests since start_profile()
};

Timing& Timing::operator+=(const Timing& other) {
  preprocess_seconds += other.preprocess_seconds;
  encode_seconds += other.encode_seconds;
  prefill_seconds += other.prefill_seconds;
  decode_seconds += other.decode_seconds;
  return *this;
}

Engine::Engine(const EngineOptions& options) : state_(std::make_unique<State>(options)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

const Plan& Engine::plan() const {
  return state_->prepared.settled.plan;
}

std::vector<RegionUse> Engine::memory() const {
  return runtime::region_uses(state_->executor);
}

MemoryReport Engine::memory_report() const {
  const Plan& plan = state_->prepared.settled.plan;
  MemoryReport report;
  report.model = plan.model;
  report.device = plan.device;
  report.choice = plan.choice;
  report.budget_bytes = plan.budget_bytes;
  report.planned_peak_bytes = plan.peak_bytes;
  report.process_peak_bytes = peak_resident_bytes();
  report.pages = plan.n_pages;
  report.pages_in_use = plan.n_pages - state_->generation.free_pages();
  report.regions = runtime::region_uses(state_->executor);
  report.phases = runtime::phase_uses(state_->executor);
  report.forgotten_phases = state_->executor.arena().n_forgotten_records();
  return report;
}

void Engine::start_profile() {
  state_->profiled = {};
  state_->executor.time_ops();
}

Profile Engine::profile() const {
  const Timing& timing = state_->profiled;
  return {{{"pixels", timing.preprocess_seconds},
           {"encode", timing.encode_seconds},
           {"prefill", timing.prefill_seconds},
           {"decode", timing.decode_seconds}},
          runtime::op_uses(state_->executor.op_times()),
          {}};
}

Completion Engine::generate(const Request& request, const OnText& on_text) {
  Completion completion = state_->scheduler.run(request, on_text);
  state_->profiled += completion.timing;
  return completion;
}

void Engine::generate_all(const NextTask& next, const OnOutcome& on_outcome) {
  state_->scheduler.run_all(next, [&](const Outcome& outcome) {
    if (outcome.completion) state_->profiled += outcome.completion->timing;
    return on_outcome(outcome);
  });
}

Trace Engine::trace(const Request& request) {
  return state_->generation.trace(request);
}

std::uint64_t peak_resident_bytes() {
  return runtime::process_memory().peak_resident_bytes;
}

void save_trace(const Trace& trace, const std::filesystem::path& file) {
  std::vector<checkpoint::TensorToWrite> tensors;
  for (const TraceTensor& tensor : trace) {
    const bool whole = !tensor.integers.empty();
    Shape shape;
    for (const std::int64_t dim : tensor.shape) shape.append(dim);
    tensors.push_back(
        {tensor.name, whole ? DType::i64 : DType::f32, shape,
         whole ? std::as_bytes(std::span(tensor.integers)) : std::as_bytes(std::span(tensor.floats))});
  }
  checkpoint::write_safetensors(file, tensors);
}

struct TextTokenizer::State {
  text::Tokenizer tokenizer;
};

TextTokenizer::TextTokenizer(const std::filesystem::path& model)
    : state_(new State{runtime::load_model_tokenizer(runtime::model_path(model).model)}) {}
TextTokenizer::~TextTokenizer() = default;

std::vector<std::int32_t> TextTokenizer::encode(std::string_view text, SpecialTokens special) const {
  return state_->tokenizer.encode(
      text, special == SpecialTokens::add ? text::SpecialTokens::add : text::SpecialTokens::none);
}

std::string TextTokenizer::decode(const std::vector<std::int32_t>& ids) const {
  return state_->tokenizer.decode(ids);
}

}  // namespace galago
