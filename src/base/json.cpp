// JSON parsing with our own sentences around nlohmann's parser.
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/fail.h"
#include "base/file_map.h"
#include "base/printable.h"

namespace galago {
namespace {

constexpr std::size_t max_depth = 64;

/// "line 3, column 14" of a byte offset.
std::string position_of(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 == 0: the first line
  return fmt::format("line {}, column {}", 1 + std::count(before.begin(), before.end(), '\n'),
                     1 + before.size() - line_start);
}

/// Refuses deep nesting before anything is built; brackets in strings do not count.
void check_depth(std::string_view text, std::string_view file) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > max_depth) {
        fail(ErrorCode::model, "{}: {}: the JSON is nested deeper than {} levels", file, position_of(text, i),
             max_depth);
      }
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
}

/// Watches the parser's events for a key that its object already has.
class KeyWatch {
 public:
  explicit KeyWatch(std::string_view file) : file_(file) {}

  bool operator()(int, Json::parse_event_t event, const Json& value) {
    if (event == Json::parse_event_t::object_start) {
      open_.emplace_back();
    } else if (event == Json::parse_event_t::object_end && !open_.empty()) {
      open_.pop_back();
    } else if (event == Json::parse_event_t::key && !open_.empty()) {
      const auto& key = value.get_ref<const std::string&>();
      if (!open_.back().insert(key).second) {
        fail(ErrorCode::model, "{}: the name {} appears twice", file_, printable(key));
      }
    }
    return true;
  }

 private:
  std::string_view file_;
  std::vector<std::set<std::string>> open_;
};

const Json& require(const Json& json, std::string_view key, std::string_view file) {
  const Json* value = find_json(json, key);
  if (!value) fail(ErrorCode::model, "{}: {} is missing", file, printable(key));
  return *value;
}

[[noreturn]] void fail_type(const Json& value, std::string_view key, std::string_view expected,
                            std::string_view file) {
  fail(ErrorCode::model, "{}: {} is {}, expected {}", file, printable(key), describe_json(value), expected);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view file, RepeatedKeys repeated) {
  check_depth(text, file);
  try {
    if (repeated == RepeatedKeys::last_counts) return Json::parse(text);
    KeyWatch watch(file);
    return Json::parse(text, [&watch](int depth, Json::parse_event_t event, Json& value) {
      return watch(depth, event, value);
    });
  } catch (const Json::parse_error& error) {
    // "[json.exception...] parse error at line 1, column 5: reason": the reason alone, our own position
    // before it.
    std::string_view reason = error.what();
    const std::size_t place = reason.find("column");
    const std::size_t colon = place == reason.npos ? reason.npos : reason.find(": ", place);
    if (colon != reason.npos) reason.remove_prefix(colon + 2);
    const std::size_t offset = error.byte > 0 ? error.byte - 1 : 0;
    fail(ErrorCode::model, "{}: {}: malformed JSON: {}", file, position_of(text, offset), printable(reason));
  } catch (const Json::exception& error) {
    fail(ErrorCode::model, "{}: malformed JSON: {}", file, printable(error.what()));
  }
}

Json parse_json_file(const std::filesystem::path& path, std::size_t max_bytes) {
  return parse_json(read_text_file(path, max_bytes), path.string());
}

const Json* find_json(const Json& json, std::string_view dotted_key) {
  const Json* value = &json;
  while (true) {
    const std::size_t dot = dotted_key.find('.');
    if (!value->is_object()) return nullptr;
    const auto found = value->find(std::string(dotted_key.substr(0, dot)));
    if (found == value->end()) return nullptr;
    value = &*found;
    if (dot == dotted_key.npos) return value;
    dotted_key.remove_prefix(dot + 1);
  }
}

std::string describe_json(const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return fmt::format("the string \"{}\"", printable(value.get_ref<const std::string&>()));
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      return fmt::format("the number {}", value.dump());
    default:
      return value.dump();  // true, false, null
  }
}

std::int64_t get_int(const Json& json, std::string_view key, std::int64_t min, std::int64_t max,
                     std::string_view file) {
  const Json& value = require(json, key, file);
  // Without the second test an unsigned number above 2^63 would turn negative.
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() ||
       value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::max<std::int64_t>(max, 0)));
  if (!fits || value.get<std::int64_t>() < min || value.get<std::int64_t>() > max) {
    fail_type(value, key, fmt::format("an integer from {} to {}", min, max), file);
  }
  return value.get<std::int64_t>();
}

double get_number(const Json& json, std::string_view key, double min, double max, std::string_view file) {
  const Json& value = require(json, key, file);
  if (!value.is_number() || !(value.get<double>() >= min && value.get<double>() <= max)) {
    fail_type(value, key, fmt::format("a number from {} to {}", min, max), file);
  }
  return value.get<double>();
}

bool get_bool(const Json& json, std::string_view key, std::string_view file) {
  const Json& value = require(json, key, file);
  if (!value.is_boolean()) fail_type(value, key, "true or false", file);
  return value.get<bool>();
}

std::string get_string(const Json& json, std::string_view key, std::string_view file) {
  const Json& value = require(json, key, file);
  if (!value.is_string()) fail_type(value, key, "a string", file);
  return value.get<std::string>();
}

}  // namespace galago
