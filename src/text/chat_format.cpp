#include "text/chat_format.h"

#include <set>
#include <span>

#include "base/fail.h"
#include "base/printable.h"
#include "text/unicode.h"

namespace galago::text {
namespace {

constexpr std::string_view image_mark = "<image>";

ChatTurn read_turn(const Json& json, const std::string& key, std::string_view file) {
  return {get_string(json, key + ".prefix", file), get_string(json, key + ".suffix", file)};
}

void check_keys(const Json& json, const std::string& name, std::string_view file) {
  static const std::set<std::string> known = {"source",
                                              "defined_in",
                                              "begin",
                                              "default_system",
                                              "system",
                                              "system_in_first_user",
                                              "system_in_last_user",
                                              "user",
                                              "later_user_prefix",
                                              "assistant",
                                              "answer",
                                              "image",
                                              "after_image",
                                              "trim",
                                              "stop",
                                              "end",
                                              "templates"};
  if (!json.is_object()) {
    fail(ErrorCode::model, "{}: {} is {}, expected an object", file, printable(name), describe_json(json));
  }
  for (const auto& [key, value] : json.items()) {
    if (!known.contains(key)) {
      fail(ErrorCode::model, "{}: {} has the unknown key {}", file, printable(name), printable(key));
    }
  }
}

std::int64_t count_marks(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t at = text.find(image_mark); at != std::string_view::npos;
       at = text.find(image_mark, at + image_mark.size())) {
    ++count;
  }
  return count;
}

/// Appends to the last segment where it is of the same kind.
void append(Segments& prompt, std::string_view text, bool literal) {
  if (text.empty()) return;
  if (!prompt.empty() && prompt.back().literal == literal) {
    prompt.back().text += text;
  } else {
    prompt.push_back({std::string(text), literal});
  }
}

std::string string_or_empty(const Json& json, const char* key, std::string_view file) {
  return json.contains(key) ? get_string(json, key, file) : "";
}

bool is_true(const Json& json, const char* key, std::string_view file) {
  return json.contains(key) && get_bool(json, key, file);
}

std::vector<std::string> read_strings(const Json& json, const char* key, std::string_view file) {
  std::vector<std::string> strings;
  if (!json.contains(key)) return strings;
  if (!json.at(key).is_array()) fail(ErrorCode::model, "{}: {} is no array", file, key);
  for (const Json& entry : json.at(key)) {
    strings.push_back(get_string(Json{{"entry", entry}}, "entry", file));
  }
  return strings;
}

/// Without the white space around it, as Jinja's trim and Python's strip() take it off.
std::string_view trimmed(std::string_view text, bool at_start) {
  while (at_start && !text.empty() && is_space(code_point(text.substr(0, utf8_head(text).length)))) {
    text.remove_prefix(utf8_head(text).length);
  }
  while (!text.empty()) {
    std::size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!is_space(code_point(text.substr(last)))) break;
    text = text.substr(0, last);
  }
  return text;
}

}  // namespace

ChatFormat::ChatFormat(std::string name, const Json& json, std::string_view file) : name_(std::move(name)) {
  check_keys(json, name_, file);
  source_ = get_string(json, "source", file);
  const std::string defined_in = string_or_empty(json, "defined_in", file);
  if (!defined_in.empty() && defined_in != "code") {
    fail(ErrorCode::model, "{}: defined_in of {} is \"{}\", expected code", file, printable(name_),
         printable(defined_in));
  }
  defined_in_code_ = !defined_in.empty();
  read_texts(json, file);
  if (count_marks(image_) != 1) {
    fail(ErrorCode::model, "{}: image of {} is \"{}\", expected one {} in it", file, printable(name_),
         printable(image_), image_mark);
  }
  stop_strings_ = read_strings(json, "stop", file);
  end_tokens_ = read_strings(json, "end", file);
}

void ChatFormat::read_texts(const Json& json, std::string_view file) {
  begin_ = string_or_empty(json, "begin", file);
  if (json.contains("system")) system_ = read_turn(json, "system", file);
  if (json.contains("default_system")) default_system_ = get_string(json, "default_system", file);
  system_in_first_user_ = is_true(json, "system_in_first_user", file);
  system_in_last_user_ = is_true(json, "system_in_last_user", file);
  user_ = read_turn(json, "user", file);
  if (json.contains("later_user_prefix")) later_user_prefix_ = get_string(json, "later_user_prefix", file);
  assistant_ = read_turn(json, "assistant", file);
  answer_prefix_ = get_string(json, "answer", file);
  image_ = get_string(json, "image", file);
  after_image_ = string_or_empty(json, "after_image", file);
  trim_ = is_true(json, "trim", file);
}

Segments ChatFormat::render(const std::vector<ChatMessage>& messages) const {
  Segments prompt;
  append(prompt, begin_, false);
  Segments system;
  std::span<const ChatMessage> turns(messages);
  const bool has_system = !turns.empty() && turns.front().role == ChatRole::system;
  if (has_system) {
    add_message(turns.front(), system_, {}, system);
    turns = turns.subspan(1);
  } else if (default_system_) {
    append(system, system_.prefix + *default_system_ + system_.suffix, false);
  }
  if (!system_in_first_user_ && !system_in_last_user_) {
    for (const Segment& segment : std::exchange(system, {})) append(prompt, segment.text, segment.literal);
  }
  ChatTurn user = user_;
  for (const ChatMessage& message : turns) {
    if (message.role == ChatRole::system) {
      fail(ErrorCode::input, "a system message is only possible as the first of a conversation");
    }
    const bool from_user = message.role == ChatRole::user;
    const bool with_system = from_user && (!system_in_last_user_ || &message == &turns.back());
    add_message(message, from_user ? user : assistant_, with_system ? system : Segments(), prompt);
    if (!from_user) continue;
    if (with_system) system.clear();
    user.prefix = later_user_prefix_.value_or(user_.prefix);
  }
  append(prompt, answer_prefix_, false);
  return prompt;
}

void ChatFormat::add_message(const ChatMessage& message, const ChatTurn& turn, const Segments& before_text,
                             Segments& prompt) const {
  append(prompt, turn.prefix, false);
  for (const Segment& segment : before_text) append(prompt, segment.text, segment.literal);
  const std::string valid = to_utf8(message.text);
  const std::string_view text = trim_ ? trimmed(valid, before_text.empty()) : std::string_view(valid);
  // Marks are a user's way to place pictures; a model that writes one only wrote so.
  const bool may_show = message.role == ChatRole::user;
  const std::int64_t n_marks = may_show ? count_marks(text) : 0;
  if (n_marks != 0 && n_marks != message.n_images) {
    fail(ErrorCode::input, "a message has {} {} marks and {} pictures", n_marks, image_mark,
         message.n_images);
  }
  if (n_marks == 0) add_pictures(message.n_images, prompt);
  if (may_show) {
    add_words(text, prompt);
  } else {
    append(prompt, text, true);
  }
  append(prompt, turn.suffix, false);
}

/// Pictures that no mark gives a place stand before the text.
void ChatFormat::add_pictures(std::int64_t count, Segments& prompt) const {
  for (std::int64_t i = 0; i < count; ++i) append(prompt, image_, false);
  if (count > 0) append(prompt, after_image_, false);
}

/// A user's own words, literal but for the marks in them.
void ChatFormat::add_words(std::string_view text, Segments& prompt) const {
  for (std::size_t at = text.find(image_mark); at != std::string_view::npos; at = text.find(image_mark)) {
    append(prompt, text.substr(0, at), true);
    append(prompt, image_mark, false);
    text.remove_prefix(at + image_mark.size());
    if (!text.starts_with(image_mark)) append(prompt, after_image_, false);
  }
  append(prompt, text, true);
}

}  // namespace galago::text
