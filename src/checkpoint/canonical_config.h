// The canonical configuration: every value found by its family's rules, checked for type and range.
#pragma once

#include "base/json.h"
#include "checkpoint/config_files.h"
#include "checkpoint/family.h"

namespace galago::checkpoint {

/// {"decoder": {...}, "tower": {...}, "projector": {...}, "image": {...}, "tokens": {...}, "chat": "..."}:
/// the sections that the family has rules for. Throws ErrorCode::model naming the file and the key as it
/// stands there.
Json canonical_config(ConfigFiles& files, const Family& family);

/// `value` as the canonical key wants it, checked; `label` ("file: key") names it in messages. Null is passed
/// through where the key may be null.
Json checked_value(const std::string& canonical_key, const Json& value, const std::string& label);

}  // namespace galago::checkpoint
