#include "runtime/plan/pictures.h"

#include <algorithm>

#include "base/fail.h"

namespace galago::runtime {
namespace {

PictureLimits largest_of_any_size(const Blueprint& model) {
  PictureLimits limits;
  if (!model.image) return limits;
  for (const vision::Size& picture : vision::largest_pictures(*model.image)) {
    const PictureLayout layout = lay_out_picture(model, picture);
    limits.n_tiles = std::max(limits.n_tiles, layout.n_tiles);
    limits.n_tokens = std::max(limits.n_tokens, layout.n_tokens());
  }
  return limits;
}

}  // namespace

void limit_tiles(const EngineOptions& options, Blueprint& model) {
  if (options.max_tiles < 0) {
    fail(ErrorCode::usage, "at most {} tiles a picture were asked for, expected 1 or more",
         options.max_tiles);
  }
  if (options.max_tiles > 0 && model.image) vision::limit_tiles(*model.image, options.max_tiles);
}

PictureLayout lay_out_picture(const Blueprint& model, vision::Size picture) {
  const vision::TilePlan plan = vision::plan_tiles(picture, *model.image);
  const vision::Assembly assembly =
      model.description.projector->newline ? vision::Assembly::unpadded : vision::Assembly::in_order;
  const std::int64_t per_tile = model.description.tokens_per_tile();
  PictureLayout layout{plan.n_tiles(), vision::embedding_rows(picture, plan, per_tile, assembly)};
  std::replace(layout.rows.begin(), layout.rows.end(), vision::newline_row,
               static_cast<std::int32_t>(layout.n_tiles * per_tile));
  return layout;
}

PictureLimits picture_limits(const Blueprint& model, const Workload& workload, std::int64_t index) {
  const auto stated = static_cast<std::size_t>(index);
  if (!model.image || stated >= workload.image_sizes.size()) return largest_of_any_size(model);
  const PictureSize& size = workload.image_sizes[stated];
  const PictureLayout layout = lay_out_picture(model, {size.width, size.height});
  return {layout.n_tiles, layout.n_tokens()};
}

PictureLimits largest_picture(const Blueprint& model, const std::optional<Workload>& workload) {
  if (!workload) return largest_of_any_size(model);
  PictureLimits largest;
  for (std::int64_t i = 0; i < workload->n_images; ++i) {
    const PictureLimits limits = picture_limits(model, *workload, i);
    largest.n_tiles = std::max(largest.n_tiles, limits.n_tiles);
    largest.n_tokens = std::max(largest.n_tokens, limits.n_tokens);
    // All further ones are like this one.
    if (i >= static_cast<std::int64_t>(workload->image_sizes.size())) break;
  }
  return largest;
}

}  // namespace galago::runtime
