// galago trace: the values of every stage, for comparison with other implementations.
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "galago/galago.h"
#include "options.h"

namespace galago::cli {
namespace {

struct TraceArguments {
  EngineOptions engine;
  DecodeOptions decode;
  SamplingOptions sampling;
  std::vector<std::string> images;
  std::string prompt, prompt_file, out;
  bool raw = false;
};

int run_trace(TraceArguments& arguments) {
  Message message;
  message.text = arguments.prompt_file.empty() ? arguments.prompt : read_text_file(arguments.prompt_file);
  for (const std::string& path : arguments.images)
    message.images.push_back(load_image(path, arguments.decode));

  arguments.engine.logits = LogitRows::all;
  arguments.engine.workload = Workload{message.text, static_cast<std::int64_t>(message.images.size()),
                                       arguments.sampling.max_new_tokens};
  for (const Image& image : message.images) {
    arguments.engine.workload->image_sizes.push_back({image.width(), image.height()});
  }
  Engine engine(arguments.engine);
  Request request;
  request.form = arguments.raw ? PromptForm::raw : PromptForm::chat;
  request.sampling = arguments.sampling;
  request.messages.push_back(std::move(message));
  save_trace(engine.trace(request), arguments.out);
  return exit_done;
}

}  // namespace

void add_trace(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("trace", "Values of every stage, as safetensors");
  const auto arguments = std::make_shared<TraceArguments>();
  arguments->engine.compute = Compute::fp32;  // values to compare are exact unless asked otherwise
  add_model_option(*command, arguments->engine);
  command->add_option("--image", arguments->images, "A picture; may be given several times")
      ->allow_extra_args(false)
      ->type_name("FILE");
  CLI::Option_group* prompt = command->add_option_group("prompt");
  prompt->add_option("--prompt", arguments->prompt, "The user's text; <image> stands for a picture");
  prompt->add_option("--prompt-file", arguments->prompt_file, "A file with that text, taken byte for byte")
      ->type_name("FILE");
  prompt->require_option(1);
  command->add_flag("--raw", arguments->raw,
                    "The prompt as it is: no chat format, special tokens read as such");
  command->add_option("--out", arguments->out, "Where the tensors go")
      ->required()
      ->type_name("FILE.safetensors");
  add_max_new_tokens(*command, arguments->sampling);
  add_engine_options(*command, arguments->engine);
  add_picture_options(*command, arguments->decode);
  command->callback([&run, arguments] { run = [arguments] { return run_trace(*arguments); }; });
}

}  // namespace galago::cli
