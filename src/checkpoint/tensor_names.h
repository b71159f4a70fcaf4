// Foreign tensors to canonical ones: by name, and by rows where one holds several.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "checkpoint/family.h"
#include "checkpoint/tensor_source.h"

namespace galago::checkpoint {

struct CanonicalName {
  std::string name;
  std::optional<std::int64_t> layer;  ///< where the name has one
};

/// A canonical tensor and the rows of the stored one that it consists of.
struct CanonicalTensor {
  CanonicalName name;
  TensorSource source;
};

/// The canonical tensors that a stored one holds by the family's rules: itself under another name, or several
/// that share its rows. None where the family does not know the name. Throws ErrorCode::model, naming
/// `file`, when the rows are not as many as the configuration says.
std::vector<CanonicalTensor> canonical_tensors(const Family& family, const TensorSource& stored,
                                               const Json& config, const std::string& file);

/// Why the family ignores a tensor of this source name; nothing if it does not.
std::optional<std::string> reason_to_ignore(const Family& family, std::string_view source);

/// Why a checkpoint with a tensor of this source name is none of the family's; nothing if it may be.
std::optional<std::string> reason_to_refuse(const Family& family, std::string_view source);

/// Why a canonical tensor is not needed under this configuration; nothing if it is.
std::optional<std::string> reason_unused(const Family& family, const CanonicalName& tensor,
                                         const Json& config);

/// '*' stands for any run of characters.
bool matches_pattern(std::string_view pattern, std::string_view text);

}  // namespace galago::checkpoint
