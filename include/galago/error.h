// The one error type of Galago.
#pragma once

#include <stdexcept>
#include <string>

namespace galago {

/// What kind of thing went wrong; the command line's exit code follows from it.
enum class ErrorCode {
  usage,      ///< an option or argument that cannot be (exit 2)
  input,      ///< a picture or prompt that cannot be used; other inputs can go on (exit 1)
  model,      ///< a checkpoint that cannot be loaded (exit 3)
  memory,     ///< a request or model that does not fit in memory (exit 4)
  io,         ///< a result that could not be written, or a file that could not be read (exit 1)
  cancelled,  ///< the caller asked to stop
  internal,   ///< a mistake of ours
};

/// Thrown by every function of the library that fails. `what()` is one sentence that names the file, what was
/// found, what was expected and, where there is one, the way out.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace galago
