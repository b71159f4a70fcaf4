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

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace galago
