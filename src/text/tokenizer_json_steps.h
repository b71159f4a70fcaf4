// The steps of a tokenizer.json: normalizers, pre-tokenizers, decoders.
#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"

namespace galago::text {

/// Each takes the section's value, null for none, and throws ErrorCode::model naming a type or an option that
/// is not supported.
std::vector<NormalizeStep> read_normalizers(const Json& json, std::string_view file);
std::vector<PreTokenizeStep> read_pre_tokenizers(const Json& json, std::string_view file);
std::vector<DecodeStep> read_decoders(const Json& json, std::string_view file);

/// The value of an optional key; its type is checked where it is there.
bool bool_or(const Json& json, const char* key, bool otherwise, std::string_view file);

}  // namespace galago::text
