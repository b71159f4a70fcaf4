// A file of memory's contents, each of its sections whole pages that can be mapped, every byte under a
// checksum.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "tensor/dtype.h"

namespace galago::runtime {

/// A region's bytes, from its beginning on: memory begins at a whole page and has whole pages.
struct PackedSection {
  std::string name;
  std::span<std::byte> memory;
};

/// What became of an attempt to use a packed file.
enum class PackedState {
  mapped,   ///< every section's memory is the file's contents now
  absent,   ///< there is no file, or an empty one
  refused,  ///< it cannot be used and may be written anew
  foreign,  ///< it is no packed file: somebody else's
};

struct PackedResult {
  PackedState state;
  std::string reason{};  ///< why it was refused, in words that follow the file's name
};

/// Maps the file's sections over their memory if it was made from `made_from`, and has exactly these
/// sections, and all checksums are right; else the memory is zeros as before. Allocates little.
PackedResult map_packed(const std::filesystem::path& path, const Json& made_from,
                        std::span<const PackedSection> sections, int n_threads);

/// Writes the file whole or not at all. Throws ErrorCode::io when the disk refuses.
void write_packed(const std::filesystem::path& path, const Json& made_from,
                  std::span<const PackedSection> sections, int n_threads);

}  // namespace galago::runtime
