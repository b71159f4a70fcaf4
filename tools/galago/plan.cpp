// galago plan: what a model will use, before it is loaded.
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "galago/plan.h"
#include "options.h"
#include "output_file.h"
#include "size.h"

namespace galago::cli {
namespace {

struct PlanArguments {
  EngineOptions engine;
  Workload workload{"Describe the picture.", 1, SamplingOptions().max_new_tokens};
  bool json = false;
  bool explain = false;
  bool what_if = false;
  bool pareto = false;
};

int run_plan(PlanArguments& arguments) {
  arguments.engine.workload = arguments.workload;
  if (arguments.what_if) {
    const std::vector<WhatIfRow> rows = plan_what_if(arguments.engine);
    OutputFile().write(arguments.json ? to_json(rows) : to_text(rows));
    return exit_done;
  }
  if (arguments.pareto) {
    const std::vector<ParetoRow> rows = plan_pareto(arguments.engine);
    OutputFile().write(arguments.json ? to_json(rows) : to_text(rows));
    return exit_done;
  }
  const Plan plan = plan_model(arguments.engine);
  tell_notice(plan);
  std::string text = arguments.json ? to_json(plan) : to_text(plan);
  if (text.empty() || text.back() != '\n') text += '\n';
  if (arguments.explain && !arguments.json) text += "\n" + ladder_text(plan);
  OutputFile().write(text);
  return exit_done;
}

}  // namespace

void add_plan(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("plan", "What the model will use: memory by region, time by phase");
  const auto arguments = std::make_shared<PlanArguments>();
  add_model_option(*command, arguments->engine);
  add_engine_options(*command, arguments->engine);
  add_batch_options(*command, arguments->engine);
  command->add_option("-p,--prompt", arguments->workload.prompt, "Plan for this prompt")
      ->capture_default_str();
  command
      ->add_option_function<std::string>(
          "--image-size",
          [arguments](const std::string& text) {
            arguments->workload.image_sizes = {parse_picture_size(text)};
          },
          "Plan for a picture of this size; default: the largest that the model makes of any")
      ->type_name("WxH");
  add_shape_option(*command, arguments->engine);
  command
      ->add_option("--prompt-tokens", arguments->workload.text_tokens,
                   "The prompt's length without pictures, with --shape")
      ->check(CLI::Range(0, 1 << 24))
      ->needs("--shape")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--max-new-tokens", arguments->workload.max_new_tokens, "and for answers of this length")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "As one JSON object (docs/plan.md)");
  CLI::Option* what_if = command->add_flag(
      "--what-if", arguments->what_if,
      "A table over precisions, picture sizes, contexts and batches: memory, speed, what fits");
  command
      ->add_flag("--pareto", arguments->pareto,
                 "The choices worth having for --memory, or for what is free: none beats another in quality, "
                 "memory and time at once")
      ->excludes(what_if);
  command
      ->add_flag("--explain", arguments->explain,
                 "All that can be chosen for --memory, from the best quality downwards")
      ->needs("--memory");
  command->callback([&run, arguments] { run = [arguments] { return run_plan(*arguments); }; });
}

}  // namespace galago::cli
