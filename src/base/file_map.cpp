// Mapping and reading files with POSIX calls; every failure names the file and the system's reason.
#include "base/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <system_error>
#include <utility>

#include "base/fail.h"

namespace galago {
namespace {

std::string reason(int error) {
  return std::generic_category().message(error);
}

/// An open file descriptor and its size, closed on every way out.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail(ErrorCode::io, "{}: cannot be opened: {}", path.string(), reason(errno));
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) {
      const int error = errno;
      ::close(descriptor_);
      fail(ErrorCode::io, "{}: cannot be examined: {}", path.string(), reason(error));
    }
    if (!S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      fail(ErrorCode::io, "{}: is {}, expected a regular file", path.string(),
           S_ISDIR(status.st_mode) ? "a directory" : "a special file");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return descriptor_; }
  std::uint64_t size() const { return size_; }

 private:
  int descriptor_;
  std::uint64_t size_ = 0;
};

}  // namespace

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  const OpenFile file(path_);
  if (file.size() == 0) return;  // mmap refuses an empty range
  if (file.size() > std::numeric_limits<std::size_t>::max() / 2) {
    fail(ErrorCode::io, "{}: {} bytes are more than can be mapped", path_.string(), file.size());
  }
  void* start = ::mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (start == MAP_FAILED) fail(ErrorCode::io, "{}: cannot be mapped: {}", path_.string(), reason(errno));
  bytes_ = {static_cast<const std::byte*>(start), static_cast<std::size_t>(file.size())};
}

MappedFile::~MappedFile() {
  unmap();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    unmap();
    path_ = std::move(other.path_);
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void MappedFile::unmap() noexcept {
  // munmap takes a mutable pointer although nothing is written.
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes) {
  const OpenFile file(path);
  if (file.size() > max_bytes) {
    fail(ErrorCode::io, "{}: is {} bytes long, expected at most {}", path.string(), file.size(), max_bytes);
  }
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = ::read(file.descriptor(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ErrorCode::io, "{}: cannot be read: {}", path.string(), reason(errno));
    if (got == 0) break;  // it shrank since fstat
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

}  // namespace galago
