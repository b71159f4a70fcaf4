// A file of memory's contents, each of its sections at a whole page so that it can be mapped, every byte
// under a checksum.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "tensor/dtype.h"

namespace galago::runtime {

/// Bytes of the whole pages that a section of so many takes.
constexpr Bytes whole_pages(Bytes bytes) {
  constexpr Bytes page = 4096;
  return (bytes + page - 1) / page * page;
}

/// Bytes of a region, from its beginning on.
struct PackedSection {
  std::string name;
  Bytes bytes = 0;
  /// At a whole page, and whole pages long; null: not there yet.
  std::byte* memory = nullptr;
};

/// Which file a section belongs to.
struct PackedSource {
  const std::filesystem::path& path;
  const Json& made_from;
  std::span<const PackedSection> sections;  ///< all that the file has, in its order
};

/// What became of an attempt to use a packed file.
enum class PackedState {
  there,    ///< memory has the file's contents now
  absent,   ///< there is no file, or an empty one
  refused,  ///< it cannot be used and may be written anew
  foreign,  ///< it is no packed file: somebody else's
};

struct PackedResult {
  PackedState state;
  std::string reason{};  ///< why it was refused, in words that follow the file's name
};

/// Maps the file's sections over their memory, those that have any, if it was made from `made_from`, has
/// exactly these sections, and the checksums of what is mapped are right; else the memory is zeros as before.
/// Allocates little.
PackedResult map_packed(const PackedSource& source, int n_threads);

/// Reads one of the file's sections to `memory` on the same conditions; else that holds anything.
PackedResult copy_packed(const PackedSource& source, std::size_t section, std::span<std::byte> memory,
                         int n_threads);

/// Writes the file whole or not at all, from the memory of all sections. Throws ErrorCode::io when the disk
/// refuses.
void write_packed(const PackedSource& source, int n_threads);

}  // namespace galago::runtime
