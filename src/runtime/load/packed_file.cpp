#include "runtime/load/packed_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/checksum.h"
#include "base/fail.h"
#include "base/file_reader.h"
#include "base/file_write.h"
#include "base/printable.h"
#include "base/thread_pool.h"

namespace galago::runtime {
namespace {

constexpr std::array<char, 8> magic{'G', 'A', 'L', 'A', 'G', 'O', 'P', 'K'};
// Of the file's form, and of how weights come to be what they are: one more where either changes.
constexpr std::uint64_t version = 2;
constexpr Bytes chunk = 4 << 20;  // under one checksum

/// What the file begins with; the header, as JSON, follows.
struct Prefix {
  std::array<char, 8> magic;
  std::uint64_t version;
  std::uint64_t header_bytes;
  std::uint64_t header_checksum;
};

PackedResult refuse(std::string reason) {
  return {PackedState::refused, std::move(reason)};
}

/// Calls body(i, chunk) for each chunk of the memory.
template <class Body>
void for_chunks(std::span<std::byte> memory, ThreadPool& pool, Body&& body) {
  const auto n_chunks = static_cast<std::int64_t>((memory.size() + chunk - 1) / chunk);
  pool.parallel_for(n_chunks, [&](std::int64_t item, int /*thread*/) {
    const auto i = static_cast<std::size_t>(item);
    const auto rest = memory.subspan(i * chunk);
    body(i, rest.first(std::min<std::size_t>(chunk, rest.size())));
  });
}

std::vector<std::uint64_t> no_sums(Bytes bytes) {
  return std::vector<std::uint64_t>((bytes + chunk - 1) / chunk);
}

std::span<std::byte> memory_of(const PackedSection& section) {
  return {section.memory, section.bytes};
}

/// The header's part about a section.
Json describe(const PackedSection& section, const std::vector<std::uint64_t>& sums) {
  return {{"name", section.name}, {"bytes", section.bytes}, {"checksums", sums}};
}

/// The same of one whose bytes are in its memory.
Json describe(const PackedSection& section, ThreadPool& pool) {
  std::vector<std::uint64_t> sums = no_sums(section.bytes);
  for_chunks(memory_of(section), pool, [&](std::size_t i, auto bytes) { sums[i] = checksum(bytes); });
  return describe(section, sums);
}

/// In words, the first of what the file was made from that is not what is asked for.
std::string difference(const Json& found, const Json& wanted) {
  for (const auto& [key, value] : wanted.items()) {
    const auto other = found.find(key);
    if (other == found.end() || *other != value) return key;
  }
  return "weights";
}

struct Header {
  Json json;
  Bytes data_at = 0;  // where the first section begins
};

/// The header, or why there is none.
PackedResult read_header(const FileReader& file, Header& header) {
  const Bytes size = file.size();
  Prefix prefix{};
  if (size == 0) return {PackedState::absent};
  if (size < sizeof prefix) return {PackedState::foreign};
  file.read(0, std::as_writable_bytes(std::span(&prefix, 1)));
  if (prefix.magic != magic) return {PackedState::foreign};
  if (prefix.version != version) {
    return refuse(fmt::format("is of version {}, expected {}", prefix.version, version));
  }
  if (prefix.header_bytes > size - sizeof prefix) return refuse("is damaged: its header is cut off");
  std::string text(prefix.header_bytes, '\0');
  file.read(sizeof prefix, std::as_writable_bytes(std::span(text)));
  if (checksum(std::as_bytes(std::span(text))) != prefix.header_checksum) {
    return refuse("is damaged: its header's checksum is wrong");
  }
  header.json = parse_json(text, file.path().string());
  header.data_at = whole_pages(sizeof prefix + prefix.header_bytes);
  return {PackedState::there};
}

/// Where a section begins, counted from the first one; the end of all behind the last.
Bytes offset_of(std::span<const PackedSection> sections, std::size_t which) {
  Bytes bytes = 0;
  for (const PackedSection& section : sections.first(which)) bytes += whole_pages(section.bytes);
  return bytes;
}

PackedResult refuse_checksums() {
  return refuse("is damaged: a checksum of its weights is wrong");
}

/// Memory that is the file's while this lives, and afterwards if it is kept.
class Mapping {
 public:
  Mapping(const FileReader& file, Bytes data_at, std::span<const PackedSection> sections)
      : sections_(sections) {
    for (std::size_t i = 0; i < sections.size(); ++i) {
      if (sections[i].memory == nullptr) continue;
      file.map_over(data_at + offset_of(sections, i), pages_of(sections[i]));
    }
  }
  ~Mapping() {
    if (kept_) return;
    for (const PackedSection& section : sections_) {
      if (section.memory != nullptr) unmap_file(pages_of(section));
    }
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  void keep() { kept_ = true; }

 private:
  static std::span<std::byte> pages_of(const PackedSection& section) {
    return {section.memory, whole_pages(section.bytes)};
  }

  std::span<const PackedSection> sections_;
  bool kept_ = false;
};

/// The header of a file that was made from what the source says, and is whole.
PackedResult read_header(const FileReader& file, const PackedSource& source, Header& header) {
  PackedResult read = read_header(file, header);
  if (read.state != PackedState::there) return read;
  const Json* const found = find_json(header.json, "made_from");
  if (found == nullptr || *found != source.made_from) {
    return refuse(fmt::format("is of another model or start: its {} differ",
                              difference(found != nullptr ? *found : Json::object(), source.made_from)));
  }
  const Bytes expected = header.data_at + offset_of(source.sections, source.sections.size());
  if (file.size() != expected) {
    return refuse(fmt::format("is damaged: it has {} bytes, expected {}", file.size(), expected));
  }
  const Json* const sections = find_json(header.json, "sections");
  const bool has_all =
      sections != nullptr && sections->is_array() && sections->size() == source.sections.size();
  if (!has_all) return refuse("is damaged: it has other sections than it should");
  return read;
}

PackedResult map_file(const FileReader& file, const PackedSource& source, int n_threads) {
  Header header;
  PackedResult read = read_header(file, source, header);
  if (read.state != PackedState::there) return read;
  Mapping mapping(file, header.data_at, source.sections);
  ThreadPool pool(n_threads);
  for (std::size_t i = 0; i < source.sections.size(); ++i) {
    const PackedSection& section = source.sections[i];
    if (section.memory == nullptr) continue;
    if (describe(section, pool) != header.json.at("sections")[i]) return refuse_checksums();
  }
  mapping.keep();
  return read;
}

PackedResult copy_from(const FileReader& file, const PackedSource& source, std::size_t which,
                       std::span<std::byte> memory, int n_threads) {
  Header header;
  PackedResult read = read_header(file, source, header);
  if (read.state != PackedState::there) return read;
  const PackedSection& section = source.sections[which];
  const Bytes at = header.data_at + offset_of(source.sections, which);
  std::vector<std::uint64_t> sums = no_sums(section.bytes);
  ThreadPool pool(n_threads);
  for_chunks(memory, pool, [&](std::size_t i, std::span<std::byte> bytes) {
    file.read(at + i * chunk, bytes);
    sums[i] = checksum(bytes);
  });
  if (describe(section, sums) != header.json.at("sections")[which]) return refuse_checksums();
  return read;
}

/// What `use(file)` says of the file at `path`, if there is one that can be read.
template <class Use>
PackedResult with_file(const std::filesystem::path& path, Use&& use) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return {PackedState::absent};
  if (!std::filesystem::is_regular_file(status)) return {PackedState::foreign};
  try {
    return use(FileReader(path));
  } catch (const Error& problem) {
    if (problem.code() != ErrorCode::io && problem.code() != ErrorCode::model) throw;
    return refuse(fmt::format("cannot be used ({})", problem.what()));
  }
}

}  // namespace

PackedResult map_packed(const PackedSource& source, int n_threads) {
  return with_file(source.path, [&](const FileReader& file) { return map_file(file, source, n_threads); });
}

PackedResult copy_packed(const PackedSource& source, std::size_t section, std::span<std::byte> memory,
                         int n_threads) {
  return with_file(source.path, [&](const FileReader& file) {
    return copy_from(file, source, section, memory, n_threads);
  });
}

void write_packed(const PackedSource& source, int n_threads) {
  ThreadPool pool(n_threads);
  Json sections = Json::array();
  for (const PackedSection& section : source.sections) sections.push_back(describe(section, pool));
  const std::string header = Json{{"made_from", source.made_from}, {"sections", sections}}.dump();
  const Prefix prefix{magic, version, header.size(), checksum(std::as_bytes(std::span(header)))};
  const std::vector<std::byte> zeros(whole_pages(1));
  std::vector<std::span<const std::byte>> parts;
  const auto fill_page = [&](Bytes bytes) {
    parts.push_back(std::span(zeros).first(whole_pages(bytes) - bytes));
  };
  parts.push_back(std::as_bytes(std::span(&prefix, 1)));
  parts.push_back(std::as_bytes(std::span(header)));
  fill_page(sizeof prefix + header.size());
  for (const PackedSection& section : source.sections) {
    parts.push_back(memory_of(section));
    fill_page(section.bytes);
  }
  write_file(source.path, parts);
}

}  // namespace galago::runtime
