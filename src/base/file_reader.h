// Reading parts of a file into memory that is there already. Unlike a mapping, pages read do not count as
// ours.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace galago {

class FileReader {
 public:
  /// Throws Error{io} with the system's reason.
  explicit FileReader(std::filesystem::path path);
  ~FileReader();
  FileReader(FileReader&& other) noexcept;
  FileReader& operator=(FileReader&&) = delete;

  /// Fills `to` from `offset` on. Throws Error{io} when the file ends before, or cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> to) const;

  /// Puts the file's bytes from `offset` on in place of `memory`, whole pages both: they are read when they
  /// are touched, and what is written there stays with the process. Throws Error{io}.
  void map_over(std::uint64_t offset, std::span<std::byte> memory) const;

  std::uint64_t size() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// Undoes that: zeros of the process's own in place of the pages. Throws Error{memory}.
void unmap_file(std::span<std::byte> memory);

}  // namespace galago
