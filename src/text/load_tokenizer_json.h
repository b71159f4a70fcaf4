// tokenizer.json (Hugging Face tokenizers) as the parts of a tokenizer.
#pragma once

#include <filesystem>

#include "text/tokenizer_parts.h"

namespace galago::text {

/// Throws ErrorCode::model naming the file and what in it is wrong or of a type that is not supported.
TokenizerParts load_tokenizer_json(const std::filesystem::path& path);

}  // namespace galago::text
