// Which chat format a model is spoken to in: the one asked for, its own code's, or the one its chat_template
// means.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/json.h"
#include "text/chat_format.h"
#include "text/chat_template.h"

namespace galago::runtime {

struct ChatChoice {
  text::ChatFormat format;
  std::string notice;   ///< what the user should know of the choice; empty: nothing
  std::string refusal;  ///< why conversations are refused until a format is asked for; empty: they are not
};

/// `asked` is the caller's name for a format, or empty; `found` the template of the model's files, if they
/// have one. A template that is not known leaves the family its own format, or none where it has no own: then
/// only raw prompts are possible. Throws ErrorCode::usage for a name that is not known.
ChatChoice choose_chat_format(const std::string& asked, const Json& config,
                              const std::filesystem::path& directory,
                              const std::optional<text::ChatTemplate>& found);

}  // namespace galago::runtime
