// Foreign tensor names to canonical ones.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "checkpoint/family.h"

namespace galago::checkpoint {

struct CanonicalName {
  std::string name;
  std::optional<std::int64_t> layer;  ///< where the name has one
};

/// The canonical name that the family gives a tensor, if any.
std::optional<CanonicalName> canonical_name(const Family& family, const std::string& source);

/// Why the family ignores a tensor of this source name; nothing if it does not.
std::optional<std::string> reason_to_ignore(const Family& family, std::string_view source);

/// Why a canonical tensor is not needed under this configuration; nothing if it is.
std::optional<std::string> reason_unused(const Family& family, const CanonicalName& tensor,
                                         const Json& config);

/// '*' stands for any run of characters.
bool matches_pattern(std::string_view pattern, std::string_view text);

}  // namespace galago::checkpoint
