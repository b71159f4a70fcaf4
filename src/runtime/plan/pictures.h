// What pictures ask of a model: tiles for the tower, positions in the prompt. Their sizes are all it takes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "galago/options.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/configuration.h"
#include "vision/tiles.h"

namespace galago::runtime {

/// A picture in a prompt: how many tiles it is cut into, and the row of their embeddings at each of its
/// positions; the row after the last tile's is the newline.
struct PictureLayout {
  std::int64_t n_tiles = 0;
  std::vector<std::int32_t> rows;

  std::int64_t n_tokens() const { return static_cast<std::int64_t>(rows.size()); }
};

/// `model` has a vision tower.
PictureLayout lay_out_picture(const Blueprint& model, vision::Size picture);

/// Keeps the model's pictures within the options' most tiles. Throws Error{usage}.
void limit_tiles(const EngineOptions& options, Blueprint& model);

/// Picture `index` of a workload: exact where its size is stated, else the largest of any size.
PictureLimits picture_limits(const Blueprint& model, const Workload& workload, std::int64_t index);

/// The workload's largest picture; the largest of any size where there is no workload.
PictureLimits largest_picture(const Blueprint& model, const std::optional<Workload>& workload);

}  // namespace galago::runtime
