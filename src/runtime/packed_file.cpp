#include "runtime/packed_file.h"

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
constexpr std::uint64_t version = 1;
constexpr Bytes page = 4096;
constexpr Bytes chunk = 4 << 20;  // under one checksum

/// What the file begins with; the header, as JSON, follows.
struct Prefix {
  std::array<char, 8> magic;
  std::uint64_t version;
  std::uint64_t header_bytes;
  std::uint64_t header_checksum;
};

constexpr Bytes whole_pages(Bytes bytes) {
  return (bytes + page - 1) / page * page;
}

PackedResult refuse(std::string reason) {
  return {PackedState::refused, std::move(reason)};
}

/// Of each chunk of the memory.
std::vector<std::uint64_t> checksums_of(std::span<const std::byte> memory, ThreadPool& pool) {
  std::vector<std::uint64_t> sums((memory.size() + chunk - 1) / chunk);
  pool.parallel_for(static_cast<std::int64_t>(sums.size()), [&](std::int64_t item, int /*thread*/) {
    const auto i = static_cast<std::size_t>(item);
    const auto rest = memory.subspan(i * chunk);
    sums[i] = checksum(rest.first(std::min<std::size_t>(chunk, rest.size())));
  });
  return sums;
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
  return {PackedState::mapped};
}

Bytes total_of(std::span<const PackedSection> sections) {
  Bytes bytes = 0;
  for (const PackedSection& section : sections) bytes += section.memory.size();
  return bytes;
}

/// The header's part about the sections.
Json describe(std::span<const PackedSection> sections, ThreadPool& pool) {
  Json all = Json::array();
  for (const PackedSection& section : sections) {
    all.push_back({{"name", section.name},
                   {"bytes", section.memory.size()},
                   {"checksums", checksums_of(section.memory, pool)}});
  }
  return all;
}

/// Memory that is the file's while this lives, and afterwards if it is kept.
class Mapping {
 public:
  Mapping(const FileReader& file, Bytes at, std::span<const PackedSection> sections) : sections_(sections) {
    for (const PackedSection& section : sections) {
      file.map_over(at, section.memory);
      at += section.memory.size();
    }
  }
  ~Mapping() {
    if (kept_) return;
    for (const PackedSection& section : sections_) unmap_file(section.memory);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  void keep() { kept_ = true; }

 private:
  std::span<const PackedSection> sections_;
  bool kept_ = false;
};

PackedResult map_file(const FileReader& file, const Json& made_from, std::span<const PackedSection> sections,
                      int n_threads) {
  Header header;
  PackedResult read = read_header(file, header);
  if (read.state != PackedState::mapped) return read;
  const Json& found = header.json.at("made_from");
  if (found != made_from) {
    return refuse(fmt::format("is of another model or start: its {} differ", difference(found, made_from)));
  }
  if (file.size() != header.data_at + total_of(sections)) {
    return refuse(fmt::format("is damaged: it has {} bytes, expected {}", file.size(),
                              header.data_at + total_of(sections)));
  }
  Mapping mapping(file, header.data_at, sections);
  ThreadPool pool(n_threads);
  if (describe(sections, pool) != header.json.at("sections")) {
    return refuse("is damaged: a checksum of its weights is wrong");
  }
  mapping.keep();
  return {PackedState::mapped};
}

}  // namespace

PackedResult map_packed(const std::filesystem::path& path, const Json& made_from,
                        std::span<const PackedSection> sections, int n_threads) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return {PackedState::absent};
  if (!std::filesystem::is_regular_file(status)) return {PackedState::foreign};
  try {
    return map_file(FileReader(path), made_from, sections, n_threads);
  } catch (const Error& problem) {
    if (problem.code() != ErrorCode::io && problem.code() != ErrorCode::model) throw;
    return refuse(fmt::format("cannot be used ({})", problem.what()));
  }
}

void write_packed(const std::filesystem::path& path, const Json& made_from,
                  std::span<const PackedSection> sections, int n_threads) {
  ThreadPool pool(n_threads);
  const std::string header = Json{{"made_from", made_from}, {"sections", describe(sections, pool)}}.dump();
  const Prefix prefix{magic, version, header.size(), checksum(std::as_bytes(std::span(header)))};
  const std::vector<std::byte> gap(whole_pages(sizeof prefix + header.size()) - sizeof prefix -
                                   header.size());
  std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span(&prefix, 1)),
                                                std::as_bytes(std::span(header)), gap};
  for (const PackedSection& section : sections) parts.emplace_back(section.memory);
  write_file(path, parts);
}

}  // namespace galago::runtime
