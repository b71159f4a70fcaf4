// A SentencePiece model as the parts of a tokenizer.
#pragma once

#include <filesystem>

#include "base/json.h"
#include "text/tokenizer_parts.h"

namespace galago::text {

/// `config` is tokenizer_config.json, or an empty object. Throws ErrorCode::model.
TokenizerParts load_sentencepiece(const std::filesystem::path& path, const Json& config);

}  // namespace galago::text
