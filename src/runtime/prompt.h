// A request as the decoder will see it: token ids, with a run of positions for each picture.
#pragma once

#include <cstdint>
#include <vector>

#include "galago/engine.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/pictures.h"
#include "runtime/sequence.h"

namespace galago::runtime {

/// The positions of one picture in a prompt.
struct PictureRows {
  std::int64_t first = 0;
  PictureLayout layout;
  const Image* picture = nullptr;  ///< null where only lengths are asked for; valid as long as the request
  ContentKey content = 0;          ///< equal for equal pictures

  std::int64_t end() const { return first + layout.n_tokens(); }
};

struct Prompt {
  std::vector<std::int32_t>
      ids;  ///< picture positions hold the family's image token (or the mark it has for one)
  std::vector<PictureRows> pictures;
  std::vector<ContentKey> keys;  ///< what stands at each position, for reuse

  std::int64_t length() const { return static_cast<std::int64_t>(ids.size()); }
};

/// Renders the chat, tokenizes it and opens a run for each picture. Throws Error{input} when "<image>" marks
/// and pictures do not match, or the model cannot see.
Prompt assemble_prompt(const ModelFiles& files, const Request& request);

/// The length for a request that is only described: `n_images` pictures and a user's text.
std::int64_t prompt_length(const ModelFiles& files, const Workload& workload);

}  // namespace galago::runtime
