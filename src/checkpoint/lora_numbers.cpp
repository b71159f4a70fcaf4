#include "checkpoint/lora_numbers.h"

#include <utility>

#include "base/fail.h"
#include "base/printable.h"

namespace galago::checkpoint {
namespace {

double positive(const Json& value, const std::string& key, const std::string& file) {
  if (value.is_number() && value.get<double>() > 0 && value.get<double>() <= 1e6) return value.get<double>();
  fail(ErrorCode::model, "{}: {} is {}, expected a positive number", file, printable(key),
       describe_json(value));
}

/// PEFT takes a pattern for the end of a path, from the beginning of one of its parts on.
Regex path_ending_in(const std::string& pattern, const std::string& file) {
  std::string path = "^(.*\\.)?(";
  return Regex(path.append(pattern).append(")$"), file);
}

}  // namespace

ModuleNumbers::ModuleNumbers(const OrderedJson& config, const char* patterns, const char* general,
                             std::string file)
    : file_(std::move(file)) {
  const auto list = config.find(patterns);
  if (list != config.end() && !list->is_null()) {
    if (!list->is_object()) {
      fail(ErrorCode::model, "{}: {} is {}, expected an object", file_, patterns, describe_json(Json(*list)));
    }
    for (const auto& [pattern, number] : list->items()) {
      std::string key = patterns;
      key.append(".").append(pattern);
      patterns_.push_back({path_ending_in(pattern, file_), positive(Json(number), key, file_)});
    }
  }
  const auto found = config.find(general);
  if (found == config.end()) fail(ErrorCode::model, "{}: {} is missing", file_, general);
  general_ = positive(Json(*found), general, file_);
}

double ModuleNumbers::of(const std::string& module) const {
  try {
    for (const Pattern& pattern : patterns_) {
      if (!pattern.path.matches(module).empty()) return pattern.number;
    }
  } catch (const Error& error) {
    fail(ErrorCode::model, "{}: a pattern cannot be held against {}: {}", file_, printable(module),
         error.what());
  }
  return general_;
}

}  // namespace galago::checkpoint
