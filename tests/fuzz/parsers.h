// The parsers of foreign bytes as functions of bytes, for mutants and for libFuzzer: each ends in success or
// throws galago::Error.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace galago::fuzz {

/// What the parsed files are called; errors must name it.
inline constexpr std::string_view safetensors_name = "mutant.safetensors";
inline constexpr std::string_view image_name = "mutant-picture";

void parse_safetensors(std::string_view bytes);
/// With limits of a million pixels, so that a picture's honest memory stays small.
void parse_image(std::string_view bytes);
/// Each in a scratch directory of its own.
void parse_gguf(std::string_view bytes);
void parse_tokenizer_json(std::string_view bytes);
void parse_tokenizer_model(std::string_view bytes);

/// A directory of its own in memory-backed storage where the system has it; removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(std::string_view name, std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

/// The tokenizer of a directory, and some text through it where it loads.
void parse_tokenizer(const std::filesystem::path& directory);
/// Everything that is read of a checkpoint before its weights.
void parse_model(const std::filesystem::path& directory);
/// An adapter beside its base, planned for: names, ranks and shapes.
void parse_adapter(const std::filesystem::path& base, const std::filesystem::path& directory);

}  // namespace galago::fuzz
