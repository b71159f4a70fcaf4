// galago inspect: what a checkpoint is, and what becomes of each of its tensors.
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "command.h"
#include "galago/engine.h"
#include "options.h"
#include "output_file.h"
#include "size.h"

namespace galago::cli {
namespace {

std::string tensor_line(const InspectedTensor& tensor, const std::string& fate) {
  return fmt::format("  {} {} [{}] -> {}\n", one_line(tensor.name), tensor.dtype,
                     fmt::join(tensor.shape, ", "), fate);
}

std::uint64_t bytes_of(const std::vector<InspectedTensor>& tensors) {
  std::uint64_t bytes = 0;
  for (const InspectedTensor& tensor : tensors) bytes += tensor.bytes;
  return bytes;
}

int run_inspect(const EngineOptions& options) {
  const Inspection found = inspect_model(options.model, options.mmproj);
  std::string text = fmt::format(
      "model            {}\nfamily           {}\nchat format      {}\ninstruction set  {}\nparameters       "
      "{}\n"
      "configuration    {}\ntensors\n",
      one_line(found.model), found.family, found.chat_format, found.instruction_set, found.parameters,
      found.configuration);
  for (const InspectedTensor& tensor : found.used) text += tensor_line(tensor, tensor.canonical);
  for (const InspectedTensor& tensor : found.ignored) text += tensor_line(tensor, "ignored: " + tensor.note);
  for (const InspectedTensor& tensor : found.unknown) text += tensor_line(tensor, "unknown");
  for (const std::string& name : found.missing) text += fmt::format("  missing: {}\n", name);
  text +=
      fmt::format("{} used ({}), {} ignored ({}), {} unknown ({}), {} missing\n", found.used.size(),
                  size_text(bytes_of(found.used)), found.ignored.size(), size_text(bytes_of(found.ignored)),
                  found.unknown.size(), size_text(bytes_of(found.unknown)), found.missing.size());
  OutputFile().write(text);
  return found.missing.empty() ? exit_done : exit_model;
}

}  // namespace

void add_inspect(CLI::App& app, Run& run) {
  CLI::App* command =
      app.add_subcommand("inspect", "What a checkpoint is, and what becomes of each of its tensors");
  const auto options = std::make_shared<EngineOptions>();
  command
      ->add_option_function<std::string>(
          "model,-m,--model", [options](const std::string& directory) { options->model = directory; },
          "Checkpoint directory or GGUF file; without it, the demo model")
      ->type_name("MODEL");
  add_mmproj_option(*command, *options);
  command->callback([&run, options] { run = [options] { return run_inspect(*options); }; });
}

}  // namespace galago::cli
