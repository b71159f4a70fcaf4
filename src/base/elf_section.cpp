#include "base/elf_section.h"

#include <elf.h>

#include <cstring>
#include <fstream>
#include <string>

namespace galago {
namespace {

template <class T>
bool read_at(std::ifstream& stream, std::uint64_t at, T& value) {
  stream.seekg(static_cast<std::streamoff>(at));
  return static_cast<bool>(stream.read(reinterpret_cast<char*>(&value), sizeof(T)));
}

}  // namespace

std::uint64_t section_bytes(const std::filesystem::path& file, std::string_view name) {
  std::ifstream stream(file, std::ios::binary);
  Elf64_Ehdr header{};
  if (!read_at(stream, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shentsize != sizeof(Elf64_Shdr)) {
    return 0;
  }
  const auto section_at = [&](std::uint64_t index) { return header.e_shoff + index * sizeof(Elf64_Shdr); };
  Elf64_Shdr names{};
  if (!read_at(stream, section_at(header.e_shstrndx), names)) return 0;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section{};
    if (!read_at(stream, section_at(i), section)) return 0;
    std::string found(name.size() + 1, '?');
    stream.seekg(static_cast<std::streamoff>(names.sh_offset + section.sh_name));
    if (!stream.read(found.data(), static_cast<std::streamsize>(found.size()))) {
      stream.clear();
      continue;
    }
    if (std::string_view(found.data(), name.size()) == name && found.back() == '\0') return section.sh_size;
  }
  return 0;
}

}  // namespace galago
