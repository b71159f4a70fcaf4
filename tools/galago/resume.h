// What an earlier run of caption already wrote to its output file.
#pragma once

#include <set>
#include <string>

namespace galago::cli {

enum class Format { text, jsonl, csv, sidecar };

struct EarlierRun {
  std::set<std::string> done;  ///< file names with a caption
  std::string kept;            ///< their records, as they were
  bool complete = true;        ///< false: something (a torn last line, a failure to try again) was left out
};

/// Reads JSONL or CSV; nothing where the file is not there. Throws Error{usage} for a file that is something
/// else, so that no foreign file is ever "repaired".
EarlierRun read_earlier_run(const std::string& path, Format format);

/// "66c3ff": JSON cannot carry a file name that is not UTF-8, so its bytes stand beside it.
std::string hex_of(const std::string& bytes);
bool is_utf8(const std::string& text);

}  // namespace galago::cli
