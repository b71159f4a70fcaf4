// The chat_template of Hugging Face files: where it lies, and what identifies it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace galago::text {

struct ChatTemplate {
  std::string file;   ///< where it was found
  std::string jinja;  ///< its text
};

/// chat_template.jinja, else chat_template.json, else the chat_template of tokenizer_config.json (of several
/// the one named "default"), as transformers takes them. Throws ErrorCode::model for files that are no such
/// thing.
std::optional<ChatTemplate> find_chat_template(const std::filesystem::path& directory);

/// Equal for templates that differ in layout, comments and quotes only: 16 hexadecimal digits.
std::string template_fingerprint(std::string_view jinja);

}  // namespace galago::text
