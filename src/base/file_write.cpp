// Temporary file, write, close, rename: each step checked, the temporary file removed on every failure.
#include "base/file_write.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "base/fail.h"

namespace galago {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_to_write(const fs::path& path, int error) {
  fail(ErrorCode::io, "{}: cannot be written: {}", path.string(), std::generic_category().message(error));
}

/// A file being written; `temporary` is where, `path` is the name in messages.
class Output {
 public:
  Output(const fs::path& path, fs::path temporary, int flags)
      : path_(path), temporary_(std::move(temporary)) {
    descriptor_ = ::open((temporary_.empty() ? path_ : temporary_).c_str(), flags | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail_to_write(path_, errno);
  }
  ~Output() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::write(descriptor_, bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail_to_write(path_, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
  }

  void finish() {
    // Some file systems report a full disk only here.
    if (!temporary_.empty() && ::fsync(descriptor_) != 0) fail_to_write(path_, errno);
    if (::close(std::exchange(descriptor_, -1)) != 0) fail_to_write(path_, errno);
    if (temporary_.empty()) return;
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_to_write(path_, errno);
    temporary_.clear();
  }

 private:
  const fs::path& path_;
  fs::path temporary_;
  int descriptor_ = -1;
};

}  // namespace

void write_file(const fs::path& path, std::span<const std::span<const std::byte>> parts) {
  write_file(path, [parts](const ByteSink& sink) {
    for (const std::span<const std::byte> part : parts) sink(part);
  });
}

void write_file(const fs::path& path, const std::function<void(const ByteSink&)>& make) {
  static std::atomic<unsigned> serial{0};
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status))
    fail(ErrorCode::io, "{}: is a directory, expected a file name", path.string());
  const bool direct = fs::exists(status) && !fs::is_regular_file(status);

  fs::path temporary;
  if (!direct) temporary = path.string() + fmt::format(".{}-{}.part", ::getpid(), serial++);
  Output output(path, temporary, direct ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL);
  make([&output](std::span<const std::byte> bytes) { output.write(bytes); });
  output.finish();
}

}  // namespace galago
