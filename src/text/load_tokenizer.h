// A directory's tokenizer before it is made into one.
#pragma once

#include <filesystem>

#include "text/tokenizer_parts.h"

namespace galago::text {

/// What load_tokenizer() makes a tokenizer of. Throws ErrorCode::model.
TokenizerParts load_tokenizer_parts(const std::filesystem::path& directory);

}  // namespace galago::text
