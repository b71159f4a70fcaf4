// JSON from foreign files: bounded parsing, and getters that check type and range and name file and key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace galago {

using Json = nlohmann::json;

/// Where formats promise unique keys a repeated one is an error; elsewhere the last one counts, as in Python.
enum class RepeatedKeys { last_counts, refuse };

/// Parses `text`; `file` is the name in messages. Throws ErrorCode::model naming line, column and reason,
/// also for nesting deeper than 64 levels.
Json parse_json(std::string_view text, std::string_view file,
                RepeatedKeys repeated = RepeatedKeys::last_counts);

/// Reads and parses a file of at most `max_bytes`.
Json parse_json_file(const std::filesystem::path& path, std::size_t max_bytes = std::size_t{64} << 20);

/// The value at a dotted key ("vision_config.hidden_size"), or null where a part of it is absent.
const Json* find_json(const Json& json, std::string_view dotted_key);

/// "the string \"big\"", "the number -3", "an array": a value as messages show it.
std::string describe_json(const Json& value);

/// Typed values at a dotted key. They throw ErrorCode::model, naming the file, the key, what was found and
/// what was expected, when the key is absent, of another type or out of range (both ends are allowed values).
std::int64_t get_int(const Json& json, std::string_view key, std::int64_t min, std::int64_t max,
                     std::string_view file);
double get_number(const Json& json, std::string_view key, double min, double max, std::string_view file);
bool get_bool(const Json& json, std::string_view key, std::string_view file);
std::string get_string(const Json& json, std::string_view key, std::string_view file);

}  // namespace galago
