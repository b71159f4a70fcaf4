// The tokenizer of a model, wherever its files keep it.
#pragma once

#include <filesystem>

#include "text/tokenizer.h"

namespace galago::runtime {

/// `model` is a checkpoint directory, or a GGUF file that has the vocabulary in its metadata. Throws
/// Error{model}.
text::Tokenizer load_model_tokenizer(const std::filesystem::path& model);

}  // namespace galago::runtime
