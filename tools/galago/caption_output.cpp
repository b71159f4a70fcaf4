#include "caption_output.h"

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "galago/error.h"
#include "options.h"

namespace galago::cli {
namespace {

constexpr const char* csv_header = "file,caption,tokens,seconds,error\n";

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string field = "\"";
  for (const char c : text) field += c == '"' ? std::string("\"\"") : std::string(1, c);
  return field + "\"";
}

std::string json_line(const nlohmann::ordered_json& record) {
  return record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

nlohmann::ordered_json named(const std::string& path) {
  nlohmann::ordered_json record;
  record["file"] = path;
  if (!is_utf8(path)) record["file_bytes"] = hex_of(path);
  return record;
}

std::string json_record(const std::string& path, const Completion& completion, double seconds) {
  nlohmann::ordered_json record = named(path);
  record["caption"] = completion.text;
  record["tokens"] = completion.token_ids.size();
  record["seconds"] = seconds;
  record["prompt_tokens"] = completion.prompt_tokens;
  record["preprocess_seconds"] = completion.timing.preprocess_seconds;
  record["encode_seconds"] = completion.timing.encode_seconds;
  record["prefill_seconds"] = completion.timing.prefill_seconds;
  record["decode_seconds"] = completion.timing.decode_seconds;
  return json_line(record);
}

}  // namespace

CaptionOutput::CaptionOutput(const OutputOptions& options) : options_(options) {
  if (options_.file.empty()) {
    file_ = std::make_unique<OutputFile>();
  } else if (options_.resume) {
    open_resumed();
  } else {
    file_ = std::make_unique<OutputFile>(options_.file, OutputFile::Open::replace);
  }
  streams_ = options_.format == Format::text && file_->is_terminal() && options_.one_at_a_time;
  if (options_.format == Format::csv && done_.empty()) file_->write(csv_header);
}

void CaptionOutput::open_resumed() {
  EarlierRun earlier = read_earlier_run(options_.file, options_.format);
  if (!earlier.complete || (earlier.done.empty() && !earlier.kept.empty())) {
    replace_file(options_.file, earlier.done.empty() ? "" : earlier.kept);
  }
  done_ = std::move(earlier.done);
  file_ = std::make_unique<OutputFile>(options_.file, OutputFile::Open::append);
}

bool CaptionOutput::has(const std::string& path) const {
  if (!options_.resume) return false;
  return options_.format == Format::sidecar ? std::filesystem::exists(sidecar_of(path))
                                            : done_.count(path) > 0;
}

std::string CaptionOutput::sidecar_of(const std::string& path) const {
  return std::filesystem::path(path).replace_extension(".txt").string();
}

void CaptionOutput::begin(const std::string& path) {
  if (options_.format != Format::sidecar || options_.overwrite) return;
  const std::string sidecar = sidecar_of(path);
  if (!std::filesystem::exists(sidecar)) return;
  throw Error(
      ErrorCode::input,
      fmt::format("{}: {} is there already; --resume skips such pictures, --overwrite replaces the text",
                  path, sidecar));
}

void CaptionOutput::announce(const std::string& path) {
  if (options_.name_files) piece(path + ": ");
}

void CaptionOutput::piece(std::string_view text) {
  if (!streams_) return;
  file_->write(options_.name_files ? one_line(text) : std::string(text));
  line_begun_ = true;
}

void CaptionOutput::break_line() {
  if (line_begun_) file_->write("\n");
  line_begun_ = false;
}

void CaptionOutput::deliver(const std::string& path, const Completion& completion, double seconds) {
  switch (options_.format) {
    case Format::text:
      if (!streams_ && options_.name_files) {
        file_->write(fmt::format("{}: {}\n", one_line(path), one_line(completion.text)));
      } else if (!streams_) {
        file_->write(completion.text + "\n");
      }
      break_line();
      return;
    case Format::jsonl:
      file_->write(json_record(path, completion, seconds));
      return;
    case Format::csv:
      file_->write(fmt::format("{},{},{},{:.6f},\n", csv_field(path), csv_field(completion.text),
                               completion.token_ids.size(), seconds));
      return;
    case Format::sidecar:
      replace_file(sidecar_of(path), completion.text + "\n");
      return;
  }
}

void CaptionOutput::deliver_error(const std::string& path, const std::string& sentence) {
  if (options_.format == Format::jsonl) {
    nlohmann::ordered_json record = named(path);
    record["error"] = sentence;
    file_->write(json_line(record));
  } else if (options_.format == Format::csv) {
    file_->write(fmt::format("{},,,,{}\n", csv_field(path), csv_field(sentence)));
  }
}

}  // namespace galago::cli
