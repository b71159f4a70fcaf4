#include "resume.h"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "galago/error.h"
#include "options.h"

namespace galago::cli {
namespace {

using nlohmann::json;

[[noreturn]] void fail_foreign(const std::string& path, const char* format) {
  throw Error(
      ErrorCode::usage,
      fmt::format("{}: holds something else than the {} of an earlier run; choose another file for -o", path,
                  format));
}

std::string bytes_of(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    bytes += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  }
  return bytes;
}

EarlierRun read_jsonl(const std::string& path, std::string_view text) {
  EarlierRun run;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // torn by a kill
    const std::string_view line = text.substr(0, end);
    const json record = json::parse(line, nullptr, false);
    if (!record.is_object() || !record.contains("file") || !record["file"].is_string())
      fail_foreign(path, "JSONL");
    text.remove_prefix(end + 1);
    if (record.contains("error")) {
      run.complete = false;
      continue;
    }
    const auto bytes = record.find("file_bytes");
    const bool named_by_bytes = bytes != record.end() && bytes->is_string();
    run.done.insert(named_by_bytes ? bytes_of(bytes->get<std::string>()) : record["file"].get<std::string>());
    run.kept.append(line).append("\n");
  }
  run.complete = run.complete && text.empty();
  return run;
}

/// The fields of the record at the front of `text`, which is then taken off; nothing where it is torn.
std::optional<std::vector<std::string>> take_record(std::string_view& text) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      fields.back() += '"';
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == ',') {
      fields.emplace_back();
    } else if (!quoted && c == '\n') {
      text.remove_prefix(i + 1);
      return fields;
    } else {
      fields.back() += c;
    }
  }
  return std::nullopt;
}

EarlierRun read_csv(const std::string& path, std::string_view text) {
  constexpr std::size_t n_columns = 5;
  EarlierRun run;
  std::string_view rest = text;
  const auto header = take_record(rest);
  if (header && header->front() != "file") fail_foreign(path, "CSV");
  if (header) run.kept = text.substr(0, text.size() - rest.size());
  while (header && !rest.empty()) {
    const std::string_view before = rest;
    const auto fields = take_record(rest);
    if (!fields) break;
    if (fields->size() != n_columns) fail_foreign(path, "CSV");
    if (!fields->back().empty()) {
      run.complete = false;
      continue;
    }
    run.done.insert(fields->front());
    run.kept.append(before.substr(0, before.size() - rest.size()));
  }
  run.complete = run.complete && rest.empty();
  return run;
}

}  // namespace

EarlierRun read_earlier_run(const std::string& path, Format format) {
  if (!std::filesystem::is_regular_file(path)) return {};
  const std::string text = read_text_file(path);
  return format == Format::csv ? read_csv(path, text) : read_jsonl(path, text);
}

std::string hex_of(const std::string& bytes) {
  std::string hex;
  for (const char c : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

bool is_utf8(const std::string& text) {
  // The JSON library's strict serialisation is a complete check.
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace) ==
         json(text).dump(-1, ' ', false, json::error_handler_t::ignore);
}

}  // namespace galago::cli
