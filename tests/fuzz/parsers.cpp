// Calls into the parsers of single files.
#include "fuzz/parsers.h"

#include <cstdlib>
#include <fstream>
#include <numeric>
#include <span>
#include <vector>

#include "base/fail.h"
#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"
#include "galago/image.h"
#include "runtime/load/model_files.h"
#include "text/tokenizer.h"

namespace galago::fuzz {
namespace {

std::span<const std::byte> as_bytes(std::string_view bytes) {
  return std::as_bytes(std::span(bytes.data(), bytes.size()));
}

/// A tokenizer of one file.
void parse_tokenizer_file(std::string_view name, std::string_view bytes) {
  const ScratchDirectory directory;
  directory.write(name, bytes);
  parse_tokenizer(directory.path());
}

}  // namespace

void parse_safetensors(std::string_view bytes) {
  checkpoint::read_safetensors_header(as_bytes(bytes), safetensors_name);
}

void parse_image(std::string_view bytes) {
  DecodeOptions options;
  options.limits = {.max_pixels = 1 << 20, .max_side = 1 << 16, .max_file_bytes = 1 << 24};
  decode_image(as_bytes(bytes), image_name, options);
}

void parse_gguf(std::string_view bytes) {
  // The bytes themselves first: reading past their end is seen there, not in a mapped file's last page.
  checkpoint::read_gguf(as_bytes(bytes), "mutant.gguf");
  const ScratchDirectory directory;
  directory.write("mutant.gguf", bytes);
  parse_model(directory.path() / "mutant.gguf");
}

void parse_tokenizer_json(std::string_view bytes) {
  parse_tokenizer_file("tokenizer.json", bytes);
}

void parse_tokenizer_model(std::string_view bytes) {
  parse_tokenizer_file("tokenizer.model", bytes);
}

ScratchDirectory::ScratchDirectory() {
  const std::filesystem::path memory = "/dev/shm";
  const auto parent = std::filesystem::exists(memory) ? memory : std::filesystem::temp_directory_path();
  std::string name = (parent / "galago-mutants-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) fail(ErrorCode::io, "no scratch directory");
  path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void ScratchDirectory::write(std::string_view name, std::string_view bytes) const {
  std::ofstream(path_ / name, std::ios::binary) << bytes;
}

void parse_tokenizer(const std::filesystem::path& directory) {
  const text::Tokenizer tokenizer = text::load_tokenizer(directory);
  try {
    tokenizer.encode("The quick\n brown  f\xC3\xB6x </s><|im_end|>12 \xF0\x9F\x98\x80 \xFF",
                     text::SpecialTokens::add);
  } catch (const Error& error) {
    // A regular expression may take a text too far; the sentence then speaks of the text.
    if (error.code() != ErrorCode::input) throw;
  }
  std::vector<std::int32_t> ids(500);
  std::iota(ids.begin(), ids.end(), -10);
  tokenizer.decode(ids);
}

void parse_model(const std::filesystem::path& directory) {
  runtime::open_model(directory);
}

}  // namespace galago::fuzz
