// Where results go: stdout or a file, written through at every call so that a kill loses nothing done.
#pragma once

#include <string>
#include <string_view>

namespace galago::cli {

class OutputFile {
 public:
  enum class Open { replace, append };

  /// Stdout.
  OutputFile() = default;
  /// Throws Error{io}.
  OutputFile(const std::string& path, Open how);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  /// Writes all of it or throws Error{io}.
  void write(std::string_view text);
  /// As write(), and finds the errors that a file system tells late.
  void close();

  bool is_terminal() const;

 private:
  std::string name_ = "standard output";
  int descriptor_ = 1;
};

/// Puts `text` in `path` through a temporary file beside it: there is the old file or the new one, never
/// half. Throws Error{io}.
void replace_file(const std::string& path, std::string_view text);

}  // namespace galago::cli
