#include "output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

#include "galago/error.h"

namespace galago::cli {
namespace {

[[noreturn]] void fail_write(const std::string& name, int error) {
  throw Error(ErrorCode::io, fmt::format("{}: cannot be written: {}", name, std::strerror(error)));
}

}  // namespace

OutputFile::OutputFile(const std::string& path, Open how) : name_(path) {
  const int mode = O_WRONLY | O_CREAT | O_CLOEXEC | (how == Open::append ? O_APPEND : O_TRUNC);
  descriptor_ = open(path.c_str(), mode, 0666);
  if (descriptor_ < 0) fail_write(name_, errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ > 2) ::close(descriptor_);
}

void OutputFile::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(descriptor_, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_write(name_, errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

void OutputFile::close() {
  if (descriptor_ <= 2) return;
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (::close(descriptor) != 0) fail_write(name_, errno);
}

bool OutputFile::is_terminal() const {
  return isatty(descriptor_) != 0;
}

void replace_file(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".part";
  try {
    OutputFile file(temporary, OutputFile::Open::replace);
    file.write(text);
    file.close();
  } catch (const Error&) {
    std::remove(temporary.c_str());
    throw;
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    std::remove(temporary.c_str());
    fail_write(path, error);
  }
}

}  // namespace galago::cli
