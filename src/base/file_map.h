// Files read through the page cache: a read-only mapping, and small text files as a string.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace galago {

/// A file mapped read-only for as long as the object lives. The mapping follows the file: one that is
/// truncated by somebody else while it is mapped raises SIGBUS on access, as with every mapped file.
class MappedFile {
 public:
  /// Throws ErrorCode::io with the system's reason when the file is missing, unreadable or not a regular
  /// file.
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void unmap() noexcept;

  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

/// The whole of a text file. Throws ErrorCode::io when it cannot be read or is longer than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace galago
