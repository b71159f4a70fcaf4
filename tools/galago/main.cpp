// galago: the command line. Results go to stdout, everything else to stderr.
#include <malloc.h>

#include <csignal>
#include <exception>
#include <map>
#include <new>
#include <string>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include "command.h"
#include "galago/error.h"

namespace {

using namespace galago::cli;

int exit_code_of(galago::ErrorCode code) {
  switch (code) {
    case galago::ErrorCode::usage:
      return exit_usage;
    case galago::ErrorCode::model:
      return exit_model;
    case galago::ErrorCode::memory:
      return exit_memory;
    case galago::ErrorCode::cancelled:
      return exit_interrupted;
    case galago::ErrorCode::input:
    case galago::ErrorCode::io:
    case galago::ErrorCode::internal:
      return exit_some_failed;
  }
  return exit_some_failed;
}

/// Help and version go to stdout; what cannot be is told in one sentence.
int end_without_run(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const auto chosen = app.get_subcommands();
  const std::string command = chosen.empty() ? "" : chosen.front()->get_name() + " ";
  const auto rest = app.remaining();
  const bool is_unknown = chosen.empty() && !rest.empty();
  spdlog::error("{}; galago {}--help tells what there is",
                is_unknown ? fmt::format("there is no command {}", rest.front()) : std::string(error.what()),
                command);
  return exit_usage;
}

int run_command(int argc, char** argv) {
  CLI::App app("Vision-language models in limited memory: a picture in, words out.", "galago");
  app.set_version_flag("--version", "galago " GALAGO_VERSION);
  app.require_subcommand(1);
  app.fallthrough();

  Settings settings;
  app.add_flag("--quiet", settings.quiet, "Errors only: no progress, no summary");
  std::string level = "warning";
  app.add_option("--log-level", level, "What is told on stderr")
      ->check(CLI::IsMember({"info", "warning", "error"}))
      ->capture_default_str();

  Run run;
  add_caption(app, settings, run);
  add_chat(app, settings, run);
  add_plan(app, run);
  add_bench(app, run);
  add_inspect(app, run);
  add_trace(app, run);
  add_tokenize(app, run);
  add_quantize(app, run);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return end_without_run(app, error);
  }
  spdlog::set_level(settings.quiet ? spdlog::level::err : spdlog::level::from_str(level));
  return run();
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that goes away (`galago ... | head`) ends the program without a word.
  std::signal(SIGPIPE, SIG_DFL);
  // Freed pictures and files go back to the system at once: a fixed threshold, where the C library's own
  // grows.
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  try {
    spdlog::set_default_logger(spdlog::stderr_color_mt("galago"));
    spdlog::set_pattern("galago: %^%l%$: %v");
    return run_command(argc, argv);
  } catch (const galago::Error& error) {
    spdlog::error("{}", error.what());
    return exit_code_of(error.code());
  } catch (const std::bad_alloc&) {
    spdlog::error("the system refused memory; choose a smaller --context or close other programs");
    return exit_memory;
  } catch (const std::exception& error) {
    spdlog::error("a mistake in galago, please report it: {}", error.what());
    return exit_some_failed;
  }
}
