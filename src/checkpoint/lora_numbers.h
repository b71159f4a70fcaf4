// A LoRA adapter's numbers for one module: by the patterns of its configuration, as PEFT matches them, or the
// general one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/regex.h"

namespace galago::checkpoint {

/// In the order of the file, which decides where several patterns match.
using OrderedJson = nlohmann::ordered_json;

class ModuleNumbers {
 public:
  /// `patterns` is the key of an object of numbers by pattern ("rank_pattern"), `general` that of the number
  /// for all other modules. Throws ErrorCode::model naming `file` for what is no pattern or no positive
  /// number.
  ModuleNumbers(const OrderedJson& config, const char* patterns, const char* general, std::string file);

  /// Of a module by its path in the base ("model.layers.3.mlp.down_proj").
  double of(const std::string& module) const;

 private:
  struct Pattern {
    Regex path;
    double number;
  };
  std::string file_;
  std::vector<Pattern> patterns_;
  double general_;
};

}  // namespace galago::checkpoint
