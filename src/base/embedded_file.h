// A text file compiled into the program by galago_embed (cmake/embed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace galago {

struct EmbeddedFile {
  std::string_view name;  ///< path relative to the project, "models/families/llama.json"
  std::string_view text;
};

}  // namespace galago
