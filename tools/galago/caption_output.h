// The forms that captions are delivered in.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "galago/engine.h"
#include "output_file.h"
#include "resume.h"

namespace galago::cli {

struct OutputOptions {
  Format format = Format::text;
  std::string file;  ///< empty: stdout
  bool resume = false;
  bool overwrite = false;     ///< sidecars that are there already
  bool name_files = false;    ///< text: each line begins with the picture's path
  bool one_at_a_time = true;  ///< no two captions grow at once
};

/// Opens the output before any work, so that a wrong -o costs nothing. Every record is written when it is
/// known.
class CaptionOutput {
 public:
  explicit CaptionOutput(const OutputOptions& options);

  /// Whether an earlier run has already delivered this picture.
  bool has(const std::string& path) const;
  /// Whether pieces of text go out as they come: text on a terminal.
  bool streams() const { return streams_; }
  bool is_terminal() const { return file_->is_terminal(); }

  /// A picture begins; throws Error{input} where its result would replace a file.
  void begin(const std::string& path);
  /// Streaming: begins the picture's line with its path, where lines have one.
  void announce(const std::string& path);
  void piece(std::string_view text);
  /// Ends a line that pieces have begun.
  void break_line();
  void deliver(const std::string& path, const Completion& completion, double seconds);
  void deliver_error(const std::string& path, const std::string& sentence);
  void close() { file_->close(); }

 private:
  void open_resumed();
  std::string sidecar_of(const std::string& path) const;

  OutputOptions options_;
  std::unique_ptr<OutputFile> file_;
  std::set<std::string> done_;
  bool streams_ = false;
  bool line_begun_ = false;
};

}  // namespace galago::cli
