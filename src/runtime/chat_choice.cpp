#include "runtime/chat_choice.h"

#include <fmt/format.h>

#include <vector>

#include "base/fail.h"
#include "base/printable.h"

namespace galago::runtime {
namespace {

constexpr const char* no_format = "none";

/// What the model may be called: the directory, and the name it was trained under.
std::vector<std::string> model_names(const Json& config, const std::filesystem::path& directory) {
  std::vector<std::string> names;
  const std::filesystem::path path = directory.lexically_normal();
  names.push_back((path.has_filename() ? path : path.parent_path()).filename().string());
  const Json* hint = find_json(config, "chat_hint");
  if (hint != nullptr && hint->is_string()) names.push_back(hint->get<std::string>());
  return names;
}

}  // namespace

ChatChoice choose_chat_format(const std::string& asked, const Json& config,
                              const std::filesystem::path& directory,
                              const std::optional<text::ChatTemplate>& found) {
  const auto named = [&](const std::string& name) {
    return text::chat_format(name, model_names(config, directory));
  };
  if (!asked.empty()) return {named(asked), "", ""};
  const std::string own_name = get_string(config, "chat", directory.string());
  if (!text::is_chat_format(own_name)) {
    fail(ErrorCode::model, "{}: asks for the chat format \"{}\", expected one of {}", directory.string(),
         printable(own_name), text::known_chat_formats());
  }
  text::ChatFormat own = named(own_name);
  if (!found || own.defined_in_code()) return {std::move(own), "", ""};
  if (const auto known = text::format_of_template(found->jinja)) return {named(*known), "", ""};
  const std::string unknown = fmt::format("{}: this chat_template is none of the known ones", found->file);
  if (own.name() == no_format) {
    return {std::move(own), "",
            fmt::format("{}; choose a format with --chat-format ({}), or give the whole prompt raw", unknown,
                        text::known_chat_formats())};
  }
  const std::string notice =
      fmt::format("{}; the format {} is used, --chat-format NAME chooses another", unknown, own.name());
  return {std::move(own), notice, ""};
}

}  // namespace galago::runtime
