// What every subcommand gives to main(): its options, and what is run once they are read.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace galago::cli {

/// What the options before or after the subcommand's name say for all of them.
struct Settings {
  bool quiet = false;
};

/// Set by the subcommand that the user chose; returns the exit code.
using Run = std::function<int()>;

/// The exit codes that scripts depend on.
enum ExitCode {
  exit_done = 0,
  exit_some_failed = 1,
  exit_usage = 2,
  exit_model = 3,
  exit_memory = 4,
  exit_interrupted = 130
};

void add_bench(CLI::App& app, Run& run);
void add_caption(CLI::App& app, const Settings& settings, Run& run);
void add_chat(CLI::App& app, const Settings& settings, Run& run);
void add_plan(CLI::App& app, Run& run);
void add_inspect(CLI::App& app, Run& run);
void add_trace(CLI::App& app, Run& run);
void add_tokenize(CLI::App& app, Run& run);
void add_quantize(CLI::App& app, Run& run);

}  // namespace galago::cli
