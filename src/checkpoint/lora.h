// LoRA adapters as PEFT stores them (arXiv:2106.09685): their factors put beside the tensors of their base.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "checkpoint/checkpoint.h"

namespace galago::checkpoint {

struct LoraBranch {
  std::int64_t rank = 0;
  double scale = 0;
};

/// By the canonical name of the matrix that a branch stands beside ("decoder.3.attn.q").
using LoraBranches = std::map<std::string, LoraBranch>;

/// Adds an adapter's factors to `base` as `prefix` + the matrix's name + ".a" [rank, columns] and ".b" [rows,
/// rank]; shapes are checked where they are loaded. Throws ErrorCode::model with a sentence naming the file
/// for an adapter of another kind, or of another base.
LoraBranches add_lora(Checkpoint& base, const std::filesystem::path& directory, const std::string& prefix);

}  // namespace galago::checkpoint
