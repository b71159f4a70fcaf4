// A checkpoint directory opened: what model it is, in canonical terms, and where each of its tensors lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/file_map.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_source.h"

namespace galago::checkpoint {

struct IgnoredTensor {
  TensorEntry entry;
  std::string reason;  ///< why it is not needed
};

/// A low-rank product that is added to a matrix while it is loaded.
struct Merge {
  std::string factors;  ///< the tensors' name without ".a" [rank, columns] and ".b" [rows, rank]
  std::int64_t rank = 0;
  float scale = 0;
};

struct Checkpoint {
  std::string family;
  std::filesystem::path directory;
  std::vector<MappedFile> files;
  Json config;                                       ///< canonical_config.h
  std::map<std::string, TensorSource> tensors;       ///< canonical name -> source
  std::map<std::string, std::vector<Merge>> merges;  ///< by the canonical name of their matrix
  std::vector<IgnoredTensor> ignored;
  std::vector<TensorEntry> unknown;  ///< neither mapped nor ignored

  /// The stored tensor's bytes in its mapped file; no alignment is promised.
  std::span<const std::byte> bytes(const TensorSource& source) const {
    return files[source.file].bytes().subspan(source.entry.offset, source.entry.bytes);
  }
};

/// Opens a directory of any known family or a GGUF file, with the GGUF file of its vision tower if that is
/// named; no weight is read. Throws ErrorCode::model with a sentence naming the file and what is wrong with
/// it, and ErrorCode::usage for a projector beside a directory, which has its own.
Checkpoint open_checkpoint(const std::filesystem::path& directory,
                           const std::filesystem::path& projector = {});

}  // namespace galago::checkpoint
