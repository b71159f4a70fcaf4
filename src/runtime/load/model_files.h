// Everything of a checkpoint that is read before its weights: headers, configuration, tokenizer, chat format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/description.h"
#include "runtime/chat_choice.h"
#include "text/tokenizer.h"
#include "vision/process.h"

namespace galago::runtime {

/// Where a picture stands in a prompt.
inline constexpr std::string_view image_mark = "<image>";

/// What a model computes and where its weights are: enough to plan and to measure, not to read a prompt.
struct Blueprint {
  checkpoint::Checkpoint checkpoint;
  model::Description description;
  std::optional<vision::ImageProcessing> image;  ///< absent for text models
};

struct ModelFiles : Blueprint {
  text::Tokenizer tokenizer;
  ChatChoice chat;
  std::optional<std::int32_t> image_token;  ///< negative: a mark that is no token of the tokenizer
  std::string image_text;                   ///< what "<image>" in a prompt stands for
  std::vector<std::int32_t> end_tokens;     ///< any of them ends the text
  std::vector<std::string> stop_strings;    ///< so does any of these in a conversation
};

/// Reads the checkpoint's configuration. Throws Error{model}.
Blueprint draw_blueprint(checkpoint::Checkpoint checkpoint);

/// `chat_format` is the name of the format to speak in, or empty: the model's own; `projector` as
/// open_checkpoint() takes it. Throws Error{model}, and Error{usage} for a format that there is not.
ModelFiles open_model(const std::filesystem::path& directory, const std::string& chat_format = "",
                      const std::filesystem::path& projector = {});

}  // namespace galago::runtime
