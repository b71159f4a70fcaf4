// galago caption: a text for each picture.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "caption_output.h"
#include "command.h"
#include "galago/galago.h"
#include "interrupt.h"
#include "options.h"
#include "picture_files.h"
#include "picture_loader.h"
#include "progress.h"
#include "reports.h"
#include "size.h"

namespace galago::cli {
namespace {

struct CaptionArguments {
  std::vector<std::string> inputs;
  std::string prompt = "Describe the picture.";
  std::string system;
  EngineOptions engine;
  DecodeOptions decode;
  SamplingOptions sampling;
  OutputOptions output;
  ReportOptions reports;
};

struct Counts {
  std::size_t done = 0, failed = 0, skipped = 0;
  std::int64_t cached_tokens = 0;
  double seconds = 0;
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check_arguments(const CaptionArguments& arguments) {
  const OutputOptions& output = arguments.output;
  const auto refuse = [](const char* sentence) { throw Error(ErrorCode::usage, sentence); };
  if (output.overwrite && output.format != Format::sidecar)
    refuse("--overwrite goes with --format sidecar only");
  if (output.format == Format::sidecar) {
    if (!output.file.empty()) refuse("--format sidecar writes beside each picture; leave -o out");
    if (output.resume && output.overwrite) refuse("--resume and --overwrite contradict each other");
  } else if (output.resume && (output.file.empty() || output.format == Format::text)) {
    refuse("--resume needs -o FILE with --format jsonl or csv, or --format sidecar");
  }
}

void print_summary(const Engine& engine, const Counts& counts) {
  std::uint64_t reserved = 0, used = 0;
  spdlog::info("{} prompt tokens were taken from the KV cache", counts.cached_tokens);
  for (const RegionUse& region : engine.memory()) {
    reserved += region.planned;
    used += region.high_water;
    spdlog::info("memory {}: planned {}, used {} bytes", region.name, region.planned, region.high_water);
  }
  const std::string speed = counts.done == 0 ? ""
                                             : fmt::format(", {:.3f} s a picture",
                                                           counts.seconds / static_cast<double>(counts.done));
  const std::string skipped = counts.skipped == 0 ? "" : fmt::format(", {} done before", counts.skipped);
  const std::string failed = counts.failed == 0 ? "" : fmt::format(", {} failed", counts.failed);
  fmt::print(stderr, "{} picture{}{}{}{}; memory planned {} (arena {}, used {}), process peak {}\n",
             counts.done, counts.done == 1 ? "" : "s", failed, skipped, speed,
             size_text(engine.plan().peak_bytes), size_text(reserved), size_text(used),
             size_text(peak_resident_bytes()));
}

/// Feeds the engine with pictures and delivers what comes of them.
class Captioning {
 public:
  Captioning(const CaptionArguments& arguments, const std::vector<PictureFile>& pictures,
             CaptionOutput& output, Progress& progress)
      : arguments_(arguments),
        pictures_(pictures),
        loader_(arguments.decode),
        output_(output),
        progress_(progress) {}

  /// Errors of one picture are told and counted; those of the output or the model end the run. After an
  /// interrupt no picture is begun; work begun is delivered.
  void run(Engine& engine) {
    const auto start = Clock::now();
    begun_.clear();
    decodes_ahead_ = engine.plan().decodes_ahead;
    engine.generate_all([this] { return next(); },
                        [&](const Outcome& outcome) {
                          const bool go_on = take(outcome);
                          tell_live_memory(engine, arguments_.reports);
                          return go_on;
                        });
    counts_.seconds += seconds_since(start);
  }
  /// Pictures in work fail so.
  void give_up(const std::string& sentence) {
    for (Begun& begun : begun_) {
      if (!begun.told) report(begun.path, sentence);
    }
  }
  const Counts& counts() const { return counts_; }
  std::size_t n_left() const { return pictures_.size() - next_; }

 private:
  struct Begun {
    std::string path;
    double load_seconds = 0;
    bool announced = false;
    bool told = false;
  };

  /// The next picture that can be loaded.
  std::optional<Task> next() {
    while (next_ < pictures_.size() && !interrupted()) {
      const auto& [path, error] = pictures_[next_++];
      if (output_.has(path)) {
        ++counts_.skipped;
        progress_.advance();
        continue;
      }
      try {
        if (!error.empty()) throw Error(ErrorCode::input, error);
        return begin(path);
      } catch (const Error& failure) {
        if (failure.code() != ErrorCode::input) throw;
        report(path, failure.what());
      }
    }
    return std::nullopt;
  }

  /// Has the next picture loaded that is neither done nor known to be none, where it was planned for.
  void look_ahead() {
    if (!decodes_ahead_) return;
    for (std::size_t i = next_; i < pictures_.size(); ++i) {
      const auto& [path, error] = pictures_[i];
      if (error.empty() && !output_.has(path)) return loader_.begin(path);
    }
  }

  Task begin(const std::string& path) {
    output_.begin(path);
    Task task;
    Request& request = task.request;
    if (!arguments_.system.empty()) request.messages.push_back({Role::system, arguments_.system, {}});
    request.messages.push_back({Role::user, arguments_.prompt, {}});
    LoadedPicture picture = loader_.load(path);
    look_ahead();
    request.messages.back().images.push_back(std::move(picture.image));
    request.sampling = arguments_.sampling;
    request.reuse = PrefixReuse::cached;
    const std::size_t index = begun_.size();
    begun_.push_back({path, picture.seconds});
    if (output_.streams()) {
      task.on_text = [this, index](std::string_view piece) {
        announce(begun_[index]);
        output_.piece(piece);
        return true;
      };
    }
    return task;
  }

  void announce(Begun& begun) {
    if (!begun.announced) output_.announce(begun.path);
    begun.announced = true;
  }

  bool take(const Outcome& outcome) {
    Begun& begun = begun_[outcome.task];
    begun.told = true;
    if (outcome.error) {
      report(begun.path, outcome.error->what());
    } else {
      announce(begun);
      const Timing& timing = outcome.completion->timing;
      output_.deliver(begun.path, *outcome.completion,
                      begun.load_seconds + timing.preprocess_seconds + timing.encode_seconds +
                          timing.prefill_seconds + timing.decode_seconds);
      counts_.cached_tokens += outcome.completion->cached_tokens;
      ++counts_.done;
      progress_.advance();
    }
    return !interrupted();
  }

  void report(const std::string& path, const std::string& sentence) {
    progress_.clear();
    ++counts_.failed;
    output_.break_line();
    spdlog::error("{}", sentence);
    output_.deliver_error(path, sentence);
    progress_.advance();
  }

  const CaptionArguments& arguments_;
  const std::vector<PictureFile>& pictures_;
  PictureLoader loader_;
  CaptionOutput& output_;
  Progress& progress_;
  bool decodes_ahead_ = false;
  std::size_t next_ = 0;
  std::vector<Begun> begun_;  // by the number of their task
  Counts counts_;
};

/// A GPU that fails takes the pictures in work with it. Who left the choice of the device to us gets the
/// others from the CPU; who named it hears how many are left.
void caption_all(Captioning& captioning, std::optional<Engine>& engine, EngineOptions& options,
                 const ReportOptions& reports) {
  try {
    captioning.run(*engine);
    return;
  } catch (const DeviceError& error) {
    captioning.give_up(error.what());
  }
  if (captioning.n_left() == 0) return;
  if (options.device != "auto") {
    spdlog::error("{} pictures were not begun; --device auto goes on with the CPU in such a case",
                  captioning.n_left());
    return;
  }
  spdlog::warn("going on with the CPU");
  engine.reset();
  options.device = "cpu";
  engine.emplace(options);
  tell_choice(engine->plan());
  begin_reports(*engine, reports);
  captioning.run(*engine);
}

int run_caption(const CaptionArguments& arguments, const Settings& settings) {
  check_arguments(arguments);
  const std::vector<PictureFile> pictures = find_pictures(arguments.inputs);
  EngineOptions options = arguments.engine;
  options.workload = Workload{arguments.prompt, 1, arguments.sampling.max_new_tokens};
  options.workload->system = arguments.system;
  options.workload->n_requests = static_cast<std::int64_t>(pictures.size());
  for (const PictureFile& picture : pictures) {
    const auto needs = picture_needs(picture.path, arguments.decode);
    if (needs) options.picture_bytes = std::max(options.picture_bytes, needs->bytes);
  }
  if (pictures.size() > 1) options.next_picture_bytes = options.picture_bytes;
  std::optional<Engine> engine(options);
  tell_notice(engine->plan());
  tell_choice(engine->plan());
  begin_reports(*engine, arguments.reports);

  OutputOptions form = arguments.output;
  form.name_files = pictures.size() > 1 || pictures.front().path != arguments.inputs.front();
  form.one_at_a_time = arguments.engine.batch == 1;
  CaptionOutput output(form);
  catch_interrupts();
  const bool bar = !settings.quiet && isatty(STDERR_FILENO) != 0 && !output.streams();
  Counts counts;
  {
    Progress progress(pictures.size(), bar ? ShowProgress::yes : ShowProgress::no);
    Captioning captioning(arguments, pictures, output, progress);
    caption_all(captioning, engine, options, arguments.reports);
    counts = captioning.counts();
  }
  output.close();
  if (!settings.quiet) print_summary(*engine, counts);
  finish_reports(engine, options, arguments.reports);
  if (interrupted()) return exit_interrupted;
  return counts.failed == 0 ? exit_done : exit_some_failed;
}

}  // namespace

void add_caption(CLI::App& app, const Settings& settings, Run& run) {
  CLI::App* command = app.add_subcommand("caption", "A text for each picture");
  const auto arguments = std::make_shared<CaptionArguments>();
  command->add_option("inputs", arguments->inputs, "Pictures, or folders of them")
      ->required()
      ->type_name("IMAGE|DIR");
  add_model_option(*command, arguments->engine);
  command->add_option("-p,--prompt", arguments->prompt, "What to ask about each picture")
      ->capture_default_str();
  add_system_option(*command, arguments->system);
  command
      ->add_option_function<std::string>(
          "--format",
          [arguments](const std::string& word) {
            const std::vector<std::string> words = {"text", "jsonl", "csv", "sidecar"};
            const auto found = std::find(words.begin(), words.end(), word);
            if (found == words.end())
              throw CLI::ValidationError("--format", word + " is none of text, jsonl, csv, sidecar");
            arguments->output.format = static_cast<Format>(found - words.begin());
          },
          "Form of the output; sidecar: a .txt file beside each picture")
      ->type_name("text|jsonl|csv|sidecar");
  command->add_option("-o,--output", arguments->output.file, "Write here, not to stdout")->type_name("FILE");
  command->add_flag("--resume", arguments->output.resume, "Skip pictures that the output already has");
  command->add_flag("--overwrite", arguments->output.overwrite, "Replace sidecars that are there");
  add_engine_options(*command, arguments->engine);
  add_batch_options(*command, arguments->engine);
  add_picture_options(*command, arguments->decode);
  add_sampling_options(*command, arguments->sampling);
  add_max_new_tokens(*command, arguments->sampling);
  add_report_options(*command, arguments->reports);
  command->callback(
      [&run, &settings, arguments] { run = [&, arguments] { return run_caption(*arguments, settings); }; });
}

}  // namespace galago::cli
