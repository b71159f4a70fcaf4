// galago quantize: a model written with its weights in fewer bits.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "command.h"
#include "galago/quantize.h"

namespace galago::cli {

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
          "out", [options](const std::string& directory) { options->out = directory; },
          "Directory to write; it must not exist yet")
      ->type_name("DIR")
      ->required();
  command
      ->add_option_function<std::string>(
          "--precision",
          [options](const std::string& name) {
            options->precision = name == "int8" ? Precision::int8 : Precision::int4;
          },
          "What matrices become")
      ->check(CLI::IsMember({"int8", "int4"}))
      ->required();
  command->callback([&run, options] {
    run = [options] {
      quantize_model(*options);
      return static_cast<int>(exit_done);
    };
  });
}

}  // namespace galago::cli
