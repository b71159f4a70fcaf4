// Everything of a checkpoint that is read before its weights: headers, configuration, tokenizer, chat format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/description.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"
#include "vision/process.h"

namespace galago::runtime {

struct ModelFiles {
  checkpoint::Checkpoint checkpoint;
  model::Description description;
  text::Tokenizer tokenizer;
  text::ChatFormat chat;
  std::optional<vision::ImageProcessing> image;  ///< absent for text models
  std::optional<std::int32_t> image_token;       ///< negative: a mark that is no token of the tokenizer
  std::vector<std::int32_t> end_tokens;          ///< any of them ends the text
};

/// Throws Error{model}.
ModelFiles open_model(const std::filesystem::path& directory);

}  // namespace galago::runtime
