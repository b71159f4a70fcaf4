#include "text/chat_template.h"

#include <fmt/format.h>

#include <cstdint>

#include "base/fail.h"
#include "base/file_map.h"
#include "base/json.h"

namespace galago::text {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_template = std::size_t{1} << 20;

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// A template's text without what does not matter: comments, white space in tags and between them, whose
/// control marks ("{%-"), kinds of quotes, and the marks of generated text ("{% generation %}").
class Normalizer {
 public:
  explicit Normalizer(std::string_view jinja) : rest_(jinja) {}

  std::string run() {
    while (!rest_.empty()) {
      if (rest_.starts_with("{#")) {
        rest_.remove_prefix(std::min(rest_.size(), rest_.find("#}", 2)));
        rest_.remove_prefix(std::min<std::size_t>(rest_.size(), 2));
      } else if (rest_.starts_with("{%") || rest_.starts_with("{{")) {
        take_tag();
      } else {
        take_text();
      }
    }
    return std::move(normal_);
  }

 private:
  void take_text() {
    const std::size_t end = std::min({rest_.find("{%"), rest_.find("{{"), rest_.find("{#"), rest_.size()});
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end);
    const bool blank = text.find_first_not_of(" \t\r\n") == std::string_view::npos;
    if (!blank || text.find('\n') == std::string_view::npos) normal_ += text;
  }

  void take_tag() {
    const std::string end = rest_.starts_with("{%") ? "%}" : "}}";
    std::string tag(rest_.substr(0, 2));
    rest_.remove_prefix(2);
    if (rest_.starts_with('-') || rest_.starts_with('+')) rest_.remove_prefix(1);
    while (!rest_.empty() && !rest_.starts_with(end)) {
      const char c = rest_.front();
      if (c == '\'' || c == '"') {
        take_string(tag);
        continue;
      }
      rest_.remove_prefix(1);
      if (is_blank(c)) {
        keep_words_apart(tag);
      } else if (c != '-' || !rest_.starts_with(end)) {
        tag += c;
      }
    }
    rest_.remove_prefix(std::min(rest_.size(), end.size()));
    while (tag.ends_with(' ')) tag.pop_back();
    tag += end;
    if (tag != "{%generation%}" && tag != "{%endgeneration%}") normal_ += tag;
  }

  /// "if a" keeps its space, "a + b" loses them.
  void keep_words_apart(std::string& tag) const {
    const auto is_word = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    };
    if (!tag.empty() && is_word(tag.back()) && !rest_.empty() && is_word(rest_.front())) tag += ' ';
  }

  /// With the other kind of quotes and real line ends it is the same string.
  void take_string(std::string& tag) {
    const char quote = rest_.front();
    rest_.remove_prefix(1);
    tag += '\'';
    while (!rest_.empty() && rest_.front() != quote) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '\\' && !rest_.empty()) {
        const char escaped = rest_.front();
        rest_.remove_prefix(1);
        if (escaped == 'n') {
          c = '\n';
        } else if (escaped == 't') {
          c = '\t';
        } else if (escaped == '\'' || escaped == '"' || escaped == '\\') {
          c = escaped;
        } else {
          tag += c;
          c = escaped;
        }
      }
      tag += c;
    }
    rest_.remove_prefix(std::min<std::size_t>(rest_.size(), 1));
    tag += '\'';
  }

  std::string_view rest_;
  std::string normal_;
};

/// A string, or a list of {"name": ..., "template": ...}.
std::optional<std::string> template_of(const Json& json, const std::string& file) {
  const auto found = json.is_object() ? json.find("chat_template") : json.end();
  if (found == json.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) {
    for (const Json& entry : *found) {
      if (get_string(entry, "name", file) == "default") return get_string(entry, "template", file);
    }
    return std::nullopt;
  }
  fail(ErrorCode::model, "{}: chat_template is {}, expected a string or a list of named ones", file,
       describe_json(*found));
}

}  // namespace

std::optional<ChatTemplate> find_chat_template(const fs::path& directory) {
  const fs::path jinja = directory / "chat_template.jinja";
  if (fs::exists(jinja)) return ChatTemplate{jinja.string(), read_text_file(jinja, longest_template)};
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    const fs::path path = directory / name;
    if (!fs::exists(path)) continue;
    if (const auto text = template_of(parse_json_file(path), path.string())) {
      return ChatTemplate{path.string(), *text};
    }
  }
  return std::nullopt;
}

std::string template_fingerprint(std::string_view jinja) {
  // FNV-1a (Fowler, Noll, Vo), as the texts are few and known.
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : Normalizer(jinja).run()) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace galago::text
