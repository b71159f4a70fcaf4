// galago quantize: a model written with its weights in fewer bits.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "command.h"
#include "galago/quantize.h"
#include "options.h"

namespace galago::cli {
namespace {

constexpr const char* erase_line = "\r\033[K";

int run_quantize(const QuantizeOptions& options) {
  const bool shows = isatty(STDERR_FILENO) != 0 && spdlog::should_log(spdlog::level::warn);
  const auto show = [](std::string_view tensor) {
    fmt::print(stderr, "{}{}", erase_line, one_line(tensor));
    std::fflush(stderr);
  };
  try {
    quantize_model(options, shows ? std::function<void(std::string_view)>(show) : nullptr);
  } catch (...) {
    if (shows) fmt::print(stderr, "{}", erase_line);
    throw;
  }
  if (shows) fmt::print(stderr, "{}", erase_line);
  return exit_done;
}

}  // namespace

void add_quantize(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("quantize", "Write a model with its weights in fewer bits");
  const auto options = std::make_shared<QuantizeOptions>();
  command
      ->add_option_function<std::string>(
          "model", [options](const std::string& directory) { options->model = directory; },
          "Checkpoint directory")
      ->type_name("DIR")
      ->required();
  command
      ->add_option_function<std::string>(
          "out", [options](const std::string& path) { options->out = path; },
          "Directory, or GGUF file, to write; it must not exist yet")
      ->type_name("OUT")
      ->required();
  command
      ->add_option_function<std::string>(
          "--precision",
          [options](const std::string& name) {
            options->precision = name == "int8"   ? Precision::int8
                                 : name == "int4" ? Precision::int4
                                                  : Precision::fp16;
          },
          "What matrices become; fp16 in GGUF only")
      ->check(CLI::IsMember({"int8", "int4", "fp16"}))
      ->required();
  command
      ->add_option_function<std::string>(
          "--format",
          [options](const std::string& name) {
            options->format = name == "gguf" ? QuantizedFormat::gguf : QuantizedFormat::safetensors;
          },
          "safetensors: a directory like the model's; gguf: a file for llama.cpp too, a vision tower in "
          "mmproj-OUT beside it")
      ->check(CLI::IsMember({"safetensors", "gguf"}));
  command->add_option("--group", options->group, "Weights that share a scale: 32, 64 or 128; GGUF: 32")
      ->type_name("N")
      ->capture_default_str();
  command->add_flag_callback(
      "--symmetric", [options] { options->range = GroupRange::symmetric; },
      "int4 without minima: 4.5 bits a weight in groups of 32, in place of 5");
  command->callback([&run, options] { run = [options] { return run_quantize(*options); }; });
}

}  // namespace galago::cli
