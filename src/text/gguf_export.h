// A directory's tokenizer as the metadata of a GGUF file.
#pragma once

#include <cstdint>
#include <filesystem>

#include "text/gguf_tokenizer.h"

namespace galago::text {

/// `n_rows` are the embeddings': ids without a token are filled up to them. Throws ErrorCode::model for a
/// tokenizer that is wrong, or that GGUF files cannot describe.
GgufVocabulary export_vocabulary(const std::filesystem::path& directory, std::int64_t n_rows);

}  // namespace galago::text
