// galago bench: memory and speed of a model, stage by stage, against the machine's own ceilings.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>

#include "bench_sweep.h"
#include "command.h"
#include "galago/bench.h"
#include "galago/error.h"
#include "options.h"
#include "output_file.h"
#include "size.h"

namespace galago::cli {
namespace {

struct BenchArguments {
  BenchSweep sweep;
  std::string json, csv, html;
  std::vector<std::string> compare;
};

void write_file(const std::string& path, const std::string& text) {
  if (path.empty()) return;
  if (path == "-") {
    OutputFile().write(text);
  } else {
    replace_file(path, text);
  }
}

int run_comparison(const std::vector<std::string>& files) {
  std::vector<BenchReport> reports;
  reports.reserve(files.size());
  for (const std::string& file : files) reports.push_back(parse_bench_report(read_text_file(file), file));
  OutputFile().write(compare_reports(reports.at(0), reports.at(1)));
  return exit_done;
}

int run(const BenchArguments& arguments) {
  if (!arguments.compare.empty()) return run_comparison(arguments.compare);
  const BenchReport report = run_sweep(arguments.sweep);
  write_file(arguments.json, to_json(report));
  write_file(arguments.csv, to_csv(report));
  write_file(arguments.html, to_html(report));
  const bool piped = arguments.json == "-" || arguments.csv == "-" || arguments.html == "-";
  if (!piped) OutputFile().write(to_text(report));

  int code = exit_done;
  if (report.disturbed()) {
    spdlog::error(
        "the run was disturbed: a stage's repeats differ by more than {:.0f} % of their median; measure on a "
        "quieter "
        "machine, or allow more with --max-spread",
        arguments.sweep.base.max_spread * 100);
    code = exit_some_failed;
  }
  for (const BenchResult& result : report.results) {
    if (result.error.empty()) continue;
    spdlog::error("{}", result.error);
    code = exit_some_failed;
  }
  return code;
}

void add_sweep_options(CLI::App& command, BenchSweep& sweep) {
  std::string words;
  for (const auto& [word, value] : precision_words()) {
    if (!words.empty()) words += '|';
    words += word;
  }
  const auto set_precisions = [&sweep, words](const std::vector<std::string>& chosen) {
    for (const std::string& one : chosen) {
      const auto& known = precision_words();
      const auto found =
          std::find_if(known.begin(), known.end(), [&](const auto& word) { return word.first == one; });
      if (found == known.end()) throw CLI::ValidationError("--precision", one + " is none of " + words);
      sweep.precisions.push_back(found->second);
    }
  };
  command
      .add_option_function<std::vector<std::string>>(
          "--precision", set_precisions, "Weights of decoder and projector; lists are measured in turn")
      ->delimiter(',')
      ->type_name(words);
  command.add_option("--threads", sweep.threads, "Default: one a core; a list is measured in turn")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  const auto set_pictures = [&sweep](const std::vector<std::string>& sizes) {
    for (const std::string& size : sizes) sweep.pictures.push_back(parse_picture_size(size));
  };
  CLI::Option* pictures =
      command
          .add_option_function<std::vector<std::string>>("--image-size", set_pictures,
                                                         "Size of the made-up picture (1024x768), or a list")
          ->delimiter(',')
          ->type_name("WxH");
  command.add_flag("--text-only", sweep.text_only, "No picture")->excludes(pictures);
  command
      .add_option("--prompt-tokens", sweep.prompt_tokens,
                  "Prompt's length without the picture (64, or 512 without one), or a list")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("N");
}

void add_run_options(CLI::App& command, BenchOptions& options) {
  command.add_option("--new-tokens", options.new_tokens, "Tokens to decode")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--repeats", options.repeats, "Runs that count")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--warmup", options.warmup, "Runs before them")
      ->check(CLI::Range(0, 1000))
      ->type_name("N")
      ->capture_default_str();
  command.add_flag("--profile", options.profile,
                   "And one run with every operation timed: time, share, fraction of the ceilings");
  command
      .add_option("--max-spread", options.max_spread,
                  "A stage whose quartiles lie further apart, as a fraction of its median, was disturbed")
      ->check(CLI::Range(0.0, 100.0))
      ->type_name("X")
      ->capture_default_str();
}

}  // namespace

void add_bench(CLI::App& app, Run& run_command) {
  CLI::App* command = app.add_subcommand("bench", "Memory and speed against the machine's own ceilings");
  const auto arguments = std::make_shared<BenchArguments>();
  BenchOptions& base = arguments->sweep.base;
  add_model_option(*command, base.engine);
  add_mmproj_option(*command, base.engine);
  add_shape_option(*command, base.engine);
  add_storage_options(*command, base.engine);
  add_memory_option(*command, base.engine);
  add_packed_option(*command, base.engine);
  add_sweep_options(*command, arguments->sweep);
  add_run_options(*command, base);
  command->add_option("--json", arguments->json, "Write all as JSON (docs/bench.md); - is standard output")
      ->type_name("FILE");
  command->add_option("--csv", arguments->csv, "Write the stages as comma-separated values")
      ->type_name("FILE");
  command->add_option("--html", arguments->html, "Write a page with charts that needs nothing else")
      ->type_name("FILE");
  command
      ->add_option("--compare", arguments->compare,
                   "Tell what changed between two JSON reports; nothing is measured")
      ->expected(2)
      ->type_name("A.json B.json");
  command->callback([&run_command, arguments] { run_command = [arguments] { return run(*arguments); }; });
}

}  // namespace galago::cli
