// What a model's files say of text, wherever they keep it: the tokenizer and the chat template.
#pragma once

#include <filesystem>
#include <optional>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace galago::runtime {

/// `model` is a checkpoint directory, or a GGUF file that has the vocabulary in its metadata. Throws
/// Error{model}.
text::Tokenizer load_model_tokenizer(const std::filesystem::path& model);

/// The chat_template of a directory's files, or the one in a GGUF file's metadata. Throws Error{model}.
std::optional<text::ChatTemplate> find_model_template(const std::filesystem::path& model);

}  // namespace galago::runtime
