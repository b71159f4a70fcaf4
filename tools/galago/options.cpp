#include "options.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "galago/error.h"
#include "galago/plan.h"
#include "size.h"

namespace galago::cli {
namespace {

/// An option whose value is one of a few words; the first one is the default.
template <class T>
void add_choice(CLI::App& command, const std::string& name, T& target,
                const std::vector<std::pair<std::string, T>>& choices, const std::string& help) {
  std::string words;
  for (const auto& [word, value] : choices) words += (words.empty() ? "" : "|") + word;
  const auto choose = [name, words, choices, &target](const std::string& chosen) {
    for (const auto& [word, value] : choices) {
      if (word != chosen) continue;
      target = value;
      return;
    }
    throw CLI::ValidationError(name, fmt::format("{} is none of {}", chosen, words));
  };
  command.add_option_function<std::string>(name, choose, help)->type_name(words);
}

}  // namespace

void add_model_option(CLI::App& command, EngineOptions& options) {
  command
      .add_option_function<std::string>(
          "-m,--model", [&options](const std::string& model) { options.model = model; },
          "A model's directory or GGUF file, or its name in the Hugging Face cache (org/name) or Ollama's "
          "store "
          "(name:tag); "
          "without it, the demo model")
      ->type_name("MODEL");
}

void add_mmproj_option(CLI::App& command, EngineOptions& options) {
  command
      .add_option_function<std::string>(
          "--mmproj", [&options](const std::string& file) { options.mmproj = file; },
          "The GGUF file with the vision tower of a GGUF model; default: the only mmproj*.gguf beside it")
      ->type_name("FILE");
}

void add_packed_option(CLI::App& command, EngineOptions& options) {
  command
      .add_option_function<std::string>(
          "--packed", [&options](const std::string& file) { options.packed = file; },
          "A file that keeps the weights as they lie in memory: the first start writes it, later ones map it")
      ->type_name("FILE");
}

void add_system_option(CLI::App& command, std::string& system) {
  command.add_option("--system", system, "System text; default: the chat format's own")->type_name("TEXT");
}

void tell_notice(const Plan& plan) {
  if (!plan.notice.empty()) spdlog::warn("{}", plan.notice);
}

void tell_choice(const Plan& plan) {
  // The user left the choice to us, so it is told like a result; --quiet leaves it out.
  if (spdlog::should_log(spdlog::level::warn)) fmt::print(stderr, "{}", choice_line(plan));
}

void add_shape_option(CLI::App& command, EngineOptions& options) {
  command
      .add_option("--shape", options.shape,
                  fmt::format("A known model without its files: {}", fmt::join(known_shape_names(), ", ")))
      ->excludes("--model")
      ->type_name("NAME");
}

const std::vector<std::pair<std::string, Precision>>& precision_words() {
  static const std::vector<std::pair<std::string, Precision>> words = {
      {"auto", Precision::automatic}, {"fp32", Precision::fp32}, {"fp16", Precision::fp16},
      {"bf16", Precision::bf16},      {"int8", Precision::int8}, {"int4", Precision::int4}};
  return words;
}

void add_storage_options(CLI::App& command, EngineOptions& options) {
  add_choice(command, "--tower-precision", options.tower_precision, precision_words(),
             "Weights of the vision tower; auto: like --precision");
  add_choice(command, "--embeddings-precision", options.embeddings_precision, precision_words(),
             "Token embeddings; auto: like --precision, in int8 where that is int4");
  add_choice(command, "--output-precision", options.output_precision, precision_words(),
             "The output layer; auto likewise");
  add_choice<Compute>(
      command, "--compute", options.compute, {{"auto", Compute::automatic}, {"fp32", Compute::fp32}},
      "Products: auto rounds activations where that is several times faster (to int8 beside weights of 4 "
      "bits), fp32 is exact");
  add_choice<KvPrecision>(command, "--kv", options.kv,
                          {{"auto", KvPrecision::automatic},
                           {"fp32", KvPrecision::fp32},
                           {"fp16", KvPrecision::fp16},
                           {"int8", KvPrecision::int8},
                           {"int4", KvPrecision::int4}},
                          "Keys and values");
  command
      .add_option("--window", options.window,
                  "Positions that a token sees, so that keys and values of earlier ones need no memory; "
                  "default: as the model says")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("N");
  command
      .add_option("--sinks", options.sinks, "First positions that stay in sight beside --window; default: 4")
      ->check(CLI::Range(0, 1 << 24))
      ->type_name("N");
  add_choice<TowerPlacement>(
      command, "--tower", options.tower_placement,
      {{"auto", TowerPlacement::automatic},
       {"resident", TowerPlacement::resident},
       {"staged", TowerPlacement::staged}},
      "staged: the vision tower is loaded to encode pictures and then leaves its memory");
  command
      .add_option_function<double>(
          "--kv-limit", [&options](const double& limit) { options.kv_limit = limit; },
          "Most of the memory that everything else leaves, 0 to 1, for keys and values")
      ->type_name("X");
  command
      .add_option("--stream-layers", options.streamed_layers,
                  "Layers of the decoder that are read from disk in every step")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
}

void add_memory_option(CLI::App& command, EngineOptions& options) {
  command
      .add_option_function<std::string>(
          "--memory",
          [&options](const std::string& text) { options.memory_limit = parse_size(text, "--memory"); },
          "Most memory it may take, such as 8GiB or 500MB: the best configuration that fits is chosen")
      ->type_name("SIZE");
}

void add_engine_options(CLI::App& command, EngineOptions& options) {
  add_choice(command, "--precision", options.precision, precision_words(),
             "Weights of decoder and projector");
  add_mmproj_option(command, options);
  add_storage_options(command, options);
  add_memory_option(command, options);
  add_packed_option(command, options);
  command
      .add_option_function<std::vector<std::string>>(
          "--lora",
          [&options](const std::vector<std::string>& directories) {
            options.merged_adapters.assign(directories.begin(), directories.end());
          },
          "A PEFT LoRA adapter of the decoder, merged into its weights; may be given several times")
      ->allow_extra_args(false)
      ->type_name("DIR");
  command
      .add_option("--device", options.device,
                  "Where it runs: auto, cpu, cuda, cuda:N, or cuda-emulated (for tests: slow, not a GPU); "
                  "several, such "
                  "as cuda:0,cuda:1 or cuda:0,cpu, share the decoder's layers; plan also takes a card's name")
      ->type_name("DEVICE");
  command
      .add_option_function<std::vector<std::string>>(
          "--split",
          [&options](const std::vector<std::string>& sizes) {
            for (const std::string& size : sizes) options.split.push_back(parse_size(size, "--split"));
          },
          "Most memory that each of several devices gives, such as 7GiB,7GiB; default: what is free there")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("SIZE,...");
  command
      .add_option("--chat-format", options.chat_format,
                  "How conversations are written down, such as llava_v1 or chatml; default: the model's own")
      ->type_name("NAME");
  command
      .add_option("--context", options.context, "Tokens of prompt and answer; default: what the work needs")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("N");
  command
      .add_option("--max-tiles", options.max_tiles,
                  "Most tiles a picture is cut into, the whole one included; default: as the model says")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  command.add_option("--threads", options.threads, "Default: one a core")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
}

void add_batch_options(CLI::App& command, EngineOptions& options) {
  command.add_option("--batch", options.batch, "Pictures that are answered at once, in joint steps")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->capture_default_str();
  command
      .add_option(
          "--kv-tokens", options.kv_tokens,
          "Tokens of keys and values for all pictures at once; default: the context, for each of --batch")
      ->check(CLI::Range(1, 1 << 30))
      ->type_name("N");
  command
      .add_option(
          "--encode-batch", options.encode_batch,
          "Pictures that are encoded before a staged tower leaves; default: up to 16, as --memory allows")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
}

void add_picture_options(CLI::App& command, DecodeOptions& options) {
  add_choice<ExifOrientation>(command, "--exif", options.exif,
                              {{"on", ExifOrientation::apply}, {"off", ExifOrientation::ignore}},
                              "Turn pictures as their EXIF orientation says");
  command.add_option("--max-pixels", options.limits.max_pixels, "Refuse larger pictures")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->capture_default_str();
}

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  command.add_option("--temperature", options.temperature, "0: the likeliest token always")
      ->capture_default_str();
  command.add_option("--top-k", options.top_k, "Choose among the K likeliest; 0: all")->capture_default_str();
  command.add_option("--top-p", options.top_p, "Choose among the likeliest with this probability together")
      ->capture_default_str();
  command
      .add_option("--min-p", options.min_p,
                  "Drop tokens below this fraction of the likeliest one's probability")
      ->capture_default_str();
  command.add_option("--repetition-penalty", options.repetition_penalty, "1: none")->capture_default_str();
  command.add_option("--seed", options.seed, "The same seed gives the same text")->capture_default_str();
  command.add_option("--stop", options.stop, "End the text before this; may be given several times")
      ->allow_extra_args(false)
      ->type_name("TEXT");
}

void add_max_new_tokens(CLI::App& command, SamplingOptions& options) {
  command.add_option("--max-new-tokens", options.max_new_tokens, "Longest answer")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("N")
      ->capture_default_str();
}

std::string read_text_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) throw Error(ErrorCode::io, fmt::format("{}: {}", path, std::strerror(errno)));
  std::string text;
  char block[1 << 16];
  while (const std::size_t n = std::fread(block, 1, sizeof block, file.get())) text.append(block, n);
  if (std::ferror(file.get())) throw Error(ErrorCode::io, fmt::format("{}: {}", path, std::strerror(errno)));
  return text;
}

std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (c == '\n' || c == '\t') c = ' ';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return line;
}

}  // namespace galago::cli
