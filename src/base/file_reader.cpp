#include "base/file_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/fail.h"

namespace galago {

FileReader::FileReader(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(ErrorCode::io, "{}: cannot be opened: {}", path_.string(), std::strerror(errno));
}

FileReader::FileReader(FileReader&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileReader::~FileReader() {
  if (descriptor_ >= 0) close(descriptor_);
}

void FileReader::read(std::uint64_t offset, std::span<std::byte> to) const {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t n =
        pread(descriptor_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorCode::io, "{}: cannot be read: {}", path_.string(), std::strerror(errno));
    if (n == 0)
      fail(ErrorCode::io, "{}: ends at byte {}, {} more were expected", path_.string(), offset + done,
           to.size() - done);
    done += static_cast<std::size_t>(n);
  }
}

void FileReader::map_over(std::uint64_t offset, std::span<std::byte> memory) const {
  void* const mapped = mmap(memory.data(), memory.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                            descriptor_, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED)
    fail(ErrorCode::io, "{}: cannot be mapped: {}", path_.string(), std::strerror(errno));
}

std::uint64_t FileReader::size() const {
  struct stat status {};
  if (fstat(descriptor_, &status) != 0)
    fail(ErrorCode::io, "{}: cannot be examined: {}", path_.string(), std::strerror(errno));
  return static_cast<std::uint64_t>(status.st_size);
}

void unmap_file(std::span<std::byte> memory) {
  void* const zeros = mmap(memory.data(), memory.size(), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (zeros == MAP_FAILED)
    fail(ErrorCode::memory, "the system refused {} bytes in place of a file: {}", memory.size(),
         std::strerror(errno));
}

}  // namespace galago
