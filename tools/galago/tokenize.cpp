// galago tokenize: token ids, one line per input line.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "command.h"
#include "galago/engine.h"
#include "options.h"
#include "output_file.h"

namespace galago::cli {
namespace {

struct TokenizeArguments {
  EngineOptions engine;
  std::string text, file;
  bool no_special = false;
};

int run_tokenize(const TokenizeArguments& arguments) {
  const TextTokenizer tokenizer(arguments.engine.model.empty() ? demo_model() : arguments.engine.model);
  const SpecialTokens special = arguments.no_special ? SpecialTokens::none : SpecialTokens::add;
  OutputFile output;
  const auto print = [&](std::string_view line) {
    output.write(fmt::format("{}\n", fmt::join(tokenizer.encode(line, special), " ")));
  };
  if (arguments.file.empty()) {
    print(arguments.text);
    return exit_done;
  }
  const std::string text = read_text_file(arguments.file);
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    print(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return exit_done;
}

}  // namespace

void add_tokenize(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("tokenize", "Token ids of a text");
  const auto arguments = std::make_shared<TokenizeArguments>();
  add_model_option(*command, arguments->engine);
  CLI::Option_group* source = command->add_option_group("source");
  source->add_option("--text", arguments->text, "One text, line ends included");
  source->add_option("--file", arguments->file, "A text for each line of this file")->type_name("FILE");
  source->require_option(1);
  command->add_flag("--no-special", arguments->no_special, "Without the tokens that begin or end a text");
  command->callback([&run, arguments] { run = [arguments] { return run_tokenize(*arguments); }; });
}

}  // namespace galago::cli
