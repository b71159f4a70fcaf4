// galago chat: a conversation about pictures, in the terminal or through a pipe.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "command.h"
#include "galago/galago.h"
#include "interrupt.h"
#include "options.h"
#include "output_file.h"
#include "reports.h"
#include "size.h"

namespace galago::cli {
namespace {

constexpr const char* help =
    "/image FILE  show the model a picture, with your next message\n"
    "/reset       forget the conversation\n"
    "/memory      what is planned and used\n"
    "/quit        end (so does Ctrl-D); Ctrl-C stops an answer\n";

struct ChatArguments {
  std::vector<std::string> images;
  std::string system;
  EngineOptions engine;
  DecodeOptions decode;
  SamplingOptions sampling;
  std::uint64_t picture_bytes = 0;  ///< 0: as room_for_pictures() says
  ReportOptions reports;
};

constexpr std::uint64_t usual_picture_bytes = 64 << 20;  // a photo of 12 million pixels, decoded

/// Memory that pictures may take, now and later: it is planned. Those named at the start have theirs in any
/// case.
std::uint64_t room_for_pictures(const ChatArguments& arguments) {
  std::uint64_t named = 0, pixels = 0;
  for (const std::string& path : arguments.images) {
    const auto needs = picture_needs(path, arguments.decode);
    if (!needs) continue;  // loading it tells why
    named = std::max(named, pixels + needs->bytes);
    pixels += static_cast<std::uint64_t>(needs->width * needs->height) * 3;
  }
  std::uint64_t room = arguments.picture_bytes;
  if (room == 0) {
    const std::uint64_t budget = arguments.engine.memory_limit;
    room = budget == 0 ? usual_picture_bytes : std::min(usual_picture_bytes, budget / 8);
  }
  return std::max(room, named);
}

class Conversation {
 public:
  Conversation(Engine& engine, const ChatArguments& arguments, std::uint64_t room)
      : engine_(engine), arguments_(arguments), room_(room) {
    request_.sampling = arguments.sampling;
    request_.reuse = PrefixReuse::cached;
    reset();
  }

  void show(const std::string& path) {
    const auto needs = picture_needs(path, arguments_.decode);
    const std::uint64_t held = held_bytes();
    if (needs && held + needs->bytes > room_) {
      throw Error(
          ErrorCode::memory,
          fmt::format("{}: takes {} bytes while it is decoded, {} are left of the {} that were planned for "
                      "pictures; /reset lets go of earlier ones, --picture-memory {} plans for all",
                      path, needs->bytes, room_ - std::min(held, room_), room_, held + needs->bytes));
    }
    waiting_.push_back(load_image(path, arguments_.decode));
  }

  void reset() {
    request_.messages.clear();
    if (!arguments_.system.empty()) request_.messages.push_back({Role::system, arguments_.system, {}});
    waiting_.clear();
  }

  void tell_memory() const { fmt::print(stderr, "{}", to_text(engine_.memory_report())); }

  /// Answers, streaming. A message that cannot be answered is taken back; its pictures with it.
  void say(const std::string& text) {
    request_.messages.push_back({Role::user, text, std::exchange(waiting_, {})});
    try {
      const Completion completion = engine_.generate(request_, [this](std::string_view piece) {
        output_.write(piece);
        return !interrupted();
      });
      output_.write("\n");
      tell_live_memory(engine_, arguments_.reports);
      if (completion.finish == FinishReason::context_full) {
        spdlog::warn("the context of {} tokens is full: /reset, or start with a larger --context",
                     engine_.plan().context);
      }
      request_.messages.push_back({Role::assistant, completion.text, {}});
    } catch (const Error&) {
      request_.messages.pop_back();
      throw;
    }
  }

 private:
  /// Pixels of the conversation's pictures.
  std::uint64_t held_bytes() const {
    std::uint64_t bytes = 0;
    for (const Image& image : waiting_) bytes += image.pixels().size();
    for (const Message& message : request_.messages) {
      for (const Image& image : message.images) bytes += image.pixels().size();
    }
    return bytes;
  }

  Engine& engine_;
  const ChatArguments& arguments_;
  std::uint64_t room_;  // for pictures
  Request request_;
  std::vector<Image> waiting_;
  OutputFile output_;
};

/// False: the user wants to go.
bool follow(Conversation& conversation, const std::string& line) {
  const std::size_t space = std::min(line.find(' '), line.size());
  const std::string word = line.substr(0, space);
  const std::size_t rest = std::min(line.find_first_not_of(' ', space), line.size());
  if (line.empty()) return true;
  if (word == "/quit") return false;
  if (word == "/reset") {
    conversation.reset();
  } else if (word == "/memory") {
    conversation.tell_memory();
  } else if (word == "/help") {
    fmt::print(stderr, "{}", help);
  } else if (word == "/image" && rest < line.size()) {
    conversation.show(line.substr(rest));
  } else if (word == "/image") {
    throw Error(ErrorCode::input, "/image needs the name of a file");
  } else if (word.front() == '/' && word.find('/', 1) == std::string::npos) {
    throw Error(ErrorCode::input, fmt::format("{}: no such command; /help names them", one_line(word)));
  } else {
    conversation.say(line);
  }
  return true;
}

bool stays_usable(ErrorCode code) {
  return code == ErrorCode::input || code == ErrorCode::memory || code == ErrorCode::io;
}

int run_chat(const ChatArguments& arguments, const Settings& settings) {
  EngineOptions options = arguments.engine;
  options.picture_bytes = room_for_pictures(arguments);
  std::optional<Engine> engine(std::in_place, options);
  tell_notice(engine->plan());
  tell_choice(engine->plan());
  begin_reports(*engine, arguments.reports);
  Conversation conversation(*engine, arguments, options.picture_bytes);
  for (const std::string& path : arguments.images) conversation.show(path);
  const bool at_terminal = isatty(STDIN_FILENO) != 0;
  if (at_terminal && !settings.quiet) fmt::print(stderr, "{}", help);

  catch_interrupts();
  bool failed = false;
  std::string line;
  for (;;) {
    if (at_terminal) fmt::print(stderr, "> ");
    if (!std::getline(std::cin, line)) break;
    try {
      if (!follow(conversation, line)) break;
    } catch (const Error& error) {
      if (!stays_usable(error.code())) throw;
      spdlog::error("{}", error.what());
      failed = true;
    }
    if (interrupted() && !at_terminal) return exit_interrupted;
    if (interrupted()) forget_interrupt();
  }
  finish_reports(engine, options, arguments.reports);
  // In a terminal the user has seen what failed and gone on.
  return failed && !at_terminal ? exit_some_failed : exit_done;
}

}  // namespace

void add_chat(CLI::App& app, const Settings& settings, Run& run) {
  CLI::App* command =
      app.add_subcommand("chat", "A conversation in the terminal; /help there names its commands");
  const auto arguments = std::make_shared<ChatArguments>();
  command->add_option("images", arguments->images, "Pictures for the first message")->type_name("IMAGE");
  add_model_option(*command, arguments->engine);
  add_system_option(*command, arguments->system);
  add_engine_options(*command, arguments->engine);
  add_picture_options(*command, arguments->decode);
  command
      ->add_option_function<std::string>(
          "--picture-memory",
          [arguments](const std::string& text) {
            arguments->picture_bytes = parse_size(text, "--picture-memory");
          },
          "Memory to plan for pictures, later ones too; default: 64MiB, an eighth of --memory at most")
      ->type_name("SIZE");
  add_sampling_options(*command, arguments->sampling);
  add_max_new_tokens(*command, arguments->sampling);
  add_report_options(*command, arguments->reports);
  command->callback(
      [&run, &settings, arguments] { run = [&, arguments] { return run_chat(*arguments, settings); }; });
}

}  // namespace galago::cli
