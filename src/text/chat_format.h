// How a conversation is written down as the prompt of a model: data in models/chat_formats.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace galago::text {

enum class ChatRole { system, user, assistant };

struct ChatMessage {
  ChatRole role = ChatRole::user;
  std::string text;
  std::int64_t n_images = 0;
};

/// What stands before and after a message's text.
struct ChatTurn {
  std::string prefix;
  std::string suffix;
};

class ChatFormat {
 public:
  /// Throws ErrorCode::model naming `file` and the key that is missing, unknown or of another type.
  ChatFormat(std::string name, const Json& json, std::string_view file);

  /// The prompt up to where the model's answer begins. Texts of the messages are literal, except for the
  /// "<image>" marks in them; a message without marks has those of its pictures before its text. Throws
  /// ErrorCode::input for a system message that is not the first, and for marks that are fewer or more than
  /// the message's pictures.
  Segments render(const std::vector<ChatMessage>& messages) const;

  const std::string& name() const { return name_; }
  /// Where the format is defined.
  const std::string& source() const { return source_; }
  /// Strings that end the model's answer, beside its end tokens.
  const std::vector<std::string>& stop_strings() const { return stop_strings_; }
  /// Tokens that do, where the tokenizer has them; else they are stop strings.
  const std::vector<std::string>& end_tokens() const { return end_tokens_; }
  /// Whether the model's own code has the format: then it counts, whatever chat_template its files have.
  bool defined_in_code() const { return defined_in_code_; }

 private:
  void read_texts(const Json& json, std::string_view file);
  void add_message(const ChatMessage& message, const ChatTurn& turn, const Segments& before_text,
                   Segments& prompt) const;
  void add_pictures(std::int64_t count, Segments& prompt) const;
  void add_words(std::string_view text, Segments& prompt) const;

  std::string name_;
  std::string source_;
  bool defined_in_code_ = false;
  std::string begin_;  ///< before all else
  ChatTurn system_;
  /// The system text of a conversation without one: an empty one still has its prefix and suffix.
  std::optional<std::string> default_system_;
  bool system_in_first_user_ = false;  ///< as LLaMA-2 has it: after the first user message's prefix
  bool system_in_last_user_ = false;   ///< as Mistral has it since its third tokenizer: after the last one's
  ChatTurn user_;
  std::optional<std::string> later_user_prefix_;  ///< for messages of the user after the first
  ChatTurn assistant_;
  std::string answer_prefix_;  ///< after the last message, where the model goes on
  std::string image_;          ///< one picture's mark and what follows it, "<image>\n"
  std::string after_image_;    ///< after a mark that no other follows
  bool trim_ = false;          ///< white space around a message's text goes
  std::vector<std::string> stop_strings_;
  std::vector<std::string> end_tokens_;
};

/// A format of models/chat_formats.json. Some names there choose by the model's name, of which `model_names`
/// are the candidates, in order. Throws ErrorCode::usage naming the known ones.
ChatFormat chat_format(const std::string& name, const std::vector<std::string>& model_names = {});

/// The format that a known chat_template (Jinja) stands for. Templates are recognised by their text, however
/// it is laid out.
std::optional<std::string> format_of_template(std::string_view jinja);

/// "none, llava_v1, ..."
std::string known_chat_formats();

/// Whether models/chat_formats.json has this name.
bool is_chat_format(const std::string& name);

}  // namespace galago::text
