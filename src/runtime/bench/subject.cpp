#include "runtime/bench/subject.h"

#include <time.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/fail.h"
#include "base/topology.h"
#include "galago/image.h"
#include "runtime/backend_choice.h"
#include "runtime/bench/machine.h"
#include "runtime/load/model_path.h"
#include "runtime/load/shape_model.h"
#include "runtime/plan/attention_window.h"
#include "runtime/plan/fit.h"
#include "runtime/plan/machine.h"
#include "runtime/plan/room_check.h"
#include "runtime/report/collect.h"
#include "vision/made_up_picture.h"

namespace galago::runtime {
namespace {

constexpr std::int64_t default_prompt_beside_picture = 64;
constexpr std::int64_t default_prompt_alone = 512;
constexpr backend::TokenChoice likeliest;

Blueprint open_blueprint(const EngineOptions& options) {
  if (!options.shape.empty()) return model_of_shape(options.shape);
  const auto path = model_path(options.model, options.mmproj);
  return draw_blueprint(checkpoint::open_checkpoint(path.model, path.projector));
}

std::unique_ptr<backend::Backend> open_only(const EngineOptions& options) {
  auto backends = open_backends(options);
  if (backends.size() > 1) {
    fail(ErrorCode::usage, "{} devices were named, a benchmark measures one: its ceilings are one device's",
         backends.size());
  }
  return std::move(backends.front());
}

/// Processor time of all of this process's threads.
double process_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// The options with everything settled that depends on the model.
BenchOptions settle(BenchOptions options, const Blueprint& model) {
  if (options.repeats < 1 || options.warmup < 0 || options.new_tokens < 1 || options.prompt_tokens < 0) {
    fail(ErrorCode::usage,
         "{} repeats, {} warm-up runs, {} prompt and {} new tokens were asked for, expected 1, 0, 0 and 1 at "
         "least",
         options.repeats, options.warmup, options.prompt_tokens, options.new_tokens);
  }
  if (options.picture && (options.picture->width < 1 || options.picture->height < 1 ||
                          options.picture->width > 16384 || options.picture->height > 16384)) {
    fail(ErrorCode::usage, "the picture is {}x{}, expected 1 to 16384 pixels a side", options.picture->width,
         options.picture->height);
  }
  if (!model.description.tower) options.picture.reset();
  if (options.prompt_tokens == 0) {
    options.prompt_tokens = options.picture ? default_prompt_beside_picture : default_prompt_alone;
  }
  options.engine.workload =
      Workload{"", options.picture ? 1 : 0, options.new_tokens, options.prompt_tokens, {}, {}};
  if (options.picture) options.engine.workload->image_sizes = {*options.picture};
  return options;
}

double roofline_between(const backend::Ledger& from, const backend::Ledger& to, const BenchMachine& machine) {
  double seconds = 0;
  for (std::size_t phase = 0; phase < backend::n_phases; ++phase) {
    for (std::size_t op = 0; op < backend::n_ops; ++op) {
      const backend::Cost& before = from.costs[phase][op];
      const backend::Cost& after = to.costs[phase][op];
      seconds += roofline_seconds(static_cast<backend::Op>(op),
                                  {after.flops - before.flops, after.bytes_read - before.bytes_read,
                                   after.bytes_written - before.bytes_written},
                                  machine.ceilings());
    }
  }
  return seconds;
}

}  // namespace

Subject::Subject(const BenchOptions& options)
    : model_(open_blueprint(options.engine)), backend_(open_only(options.engine)) {
  limit_tiles(options.engine, model_);
  limit_windows(options.engine, model_.description.decoder);
  options_ = settle(options, model_);
  const Workload& workload = *options_.engine.workload;
  const std::int64_t prompt_tokens = shape_prompt_length(model_, workload);
  image_tokens_ = prompt_tokens - workload.text_tokens;
  const Demand demand{prompt_tokens, largest_picture(model_, workload)};
  Settled settled = settle(model_, options_.engine, demand, *backend_);
  configuration_ = settled.configuration;
  if (configuration_.context < prompt_tokens + options_.new_tokens) {
    fail(ErrorCode::usage, "{} tokens of prompt and {} new ones do not fit in a context of {}", prompt_tokens,
         options_.new_tokens, configuration_.context);
  }
  check_room(model_, options_.engine, demand, *backend_, settled);
  rehearsal_ = settled.rehearsal;
  plan_ = std::move(settled.plan);

  if (options_.picture) {
    jpeg_ = vision::made_up_jpeg({options_.picture->width, options_.picture->height});
    preprocessor_.emplace(*model_.image, configuration_);
    layout_ = lay_out_picture(model_, {options_.picture->width, options_.picture->height});
    for (const std::int32_t row : layout_.rows) prompt_.push_back(-1 - row);
  }
  for (std::int64_t i = 0; i < workload.text_tokens; ++i) {
    // Tokens from all over the vocabulary, so that their embeddings are not in the cache by chance.
    prompt_.push_back(static_cast<std::int32_t>(i * 7919 % model_.description.decoder.vocab_size));
  }
  pool_.emplace(configuration_.n_pages());
  sequence_.emplace(*pool_, configuration_.retention(), configuration_.context, CopyPage{});
}

void Subject::measure_ceilings() {
  machine_ =
      measure_machine(*backend_, options_.engine.threads > 0 ? options_.engine.threads : usable_cores());
}

void Subject::load() {
  executor_.reset();
  const Mark start{Clock::now(), process_seconds(), {}};
  executor_.emplace(model_.checkpoint, model_.description, configuration_, *backend_,
                    reserve(rehearsal_, *backend_));
  // The weights of a shape come from a generator: how long that takes tells nothing about loading.
  if (!options_.engine.shape.empty()) return;
  const auto bytes =
      static_cast<double>(rehearsal_.regions()[static_cast<std::size_t>(memory::RegionId::weights)]);
  record("load", "byte", bytes, start, {Clock::now(), process_seconds(), {}});
}

void Subject::forget() {
  stages_.clear();
}

Subject::Mark Subject::mark() const {
  backend_->finish();
  return {Clock::now(), process_seconds(), executor_->ledger()};
}

Subject::Effort Subject::effort(const Mark& from, const Mark& to) const {
  return {std::chrono::duration<double>(to.time - from.time).count(), to.cpu_seconds - from.cpu_seconds,
          roofline_between(from.costs, to.costs, machine_)};
}

void Subject::record(const char* name, const char* unit, double items, const Effort& effort) {
  const auto is_it = [name](const StageRuns& stage) { return stage.name == name; };
  auto stage = std::find_if(stages_.begin(), stages_.end(), is_it);
  if (stage == stages_.end()) {
    stage = stages_.insert(stages_.end(), {name, unit, items, {}, {}, effort.roofline_seconds});
  }
  stage->seconds.push_back(effort.seconds);
  stage->cpu_seconds.push_back(effort.cpu_seconds);
}

void Subject::record(const char* name, const char* unit, double items, const Mark& from, const Mark& to) {
  record(name, unit, items, effort(from, to));
}

void Subject::see_picture() {
  const Mark start = mark();
  const Image picture = decode_image(jpeg_, "the made-up picture");
  const Mark decoded = mark();
  record("decode picture", "picture", 1, start, decoded);

  // Tiles come in batches, each of which goes through all three stages.
  Effort resize, encode, project;
  Mark last = decoded;
  Effort* running = &resize;
  const auto enter = [&](Effort& next) {
    const Mark now = mark();
    const Effort done = effort(last, now);
    running->seconds += done.seconds;
    running->cpu_seconds += done.cpu_seconds;
    running->roofline_seconds += done.roofline_seconds;
    running = &next;
    last = now;
  };
  const auto fill = [&](std::int64_t first, std::span<float> pixels) {
    enter(resize);
    preprocessor_->fill(picture, first, pixels);
  };
  executor_->encode(layout_.n_tiles, fill, [&](std::string_view stage, const Matrix& /*values*/) {
    if (stage == "pixel_values") enter(encode);
    if (stage == "tower_features" && running != &project) enter(project);
  });
  enter(project);
  const auto tiles = static_cast<double>(layout_.n_tiles);
  record("resize", "picture", 1, resize);
  record("encode", "tile", tiles, encode);
  record("project", "tile", tiles, project);
}

backend::SequenceRows Subject::append(std::int64_t n_rows) {
  const std::int64_t position = sequence_->length();
  sequence_->append(std::vector<ContentKey>(static_cast<std::size_t>(n_rows)));
  return {0, n_rows, position, sequence_->pages(), 0, sequence_->given_back()};
}

void Subject::prefill() {
  const auto length = static_cast<std::int64_t>(prompt_.size());
  const Mark start = mark();
  sequence_->truncate(0);
  for (std::int64_t done = 0; done < length; done += configuration_.prefill_chunk) {
    const std::int64_t n = std::min(configuration_.prefill_chunk, length - done);
    executor_->step(backend::Phase::prefill,
                    std::span(prompt_).subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(n)),
                    append(n), done + n == length ? 1 : 0);
  }
  next_token_ = executor_->choose({&likeliest, 1}).front();
  record("prefill", "token", static_cast<double>(length), start, mark());
}

void Subject::decode() {
  const Mark start = mark();
  for (std::int64_t i = 0; i < options_.new_tokens; ++i) {
    executor_->step(backend::Phase::decode, {&next_token_, 1}, append(1), 1);
    next_token_ = executor_->choose({&likeliest, 1}).front();
  }
  record("decode", "token", static_cast<double>(options_.new_tokens), start, mark());
}

void Subject::run() {
  const Mark start = mark();
  if (options_.picture) see_picture();
  prefill();
  decode();
  Effort whole = effort(start, mark());
  // An operation may be bound by arithmetic in one stage and by traffic in the next: its costs over both,
  // taken as one, would be held against a lower time than the stages are.
  whole.roofline_seconds = 0;
  const char* name = options_.picture ? "caption" : "answer";
  for (const StageRuns& stage : stages_)
    whole.roofline_seconds += stage.name == name ? 0 : stage.roofline_seconds;
  record(name, options_.picture ? "picture" : "request", 1, whole);
}

Profile Subject::profile() {
  forget();
  executor_->time_ops();
  run();
  const auto seconds_of = [&](std::string_view name) {
    double seconds = 0;
    for (const StageRuns& stage : stages_) seconds += stage.name == name ? stage.seconds.front() : 0;
    return seconds;
  };
  Profile profile{{{"pixels", seconds_of("resize")},
                   {"encode", seconds_of("encode") + seconds_of("project")},
                   {"prefill", seconds_of("prefill")},
                   {"decode", seconds_of("decode")}},
                  op_uses(executor_->op_times()),
                  {}};
  hold_against(machine_.ceilings(), profile);
  return profile;
}

}  // namespace galago::runtime
