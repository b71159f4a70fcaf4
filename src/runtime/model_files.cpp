#include "runtime/model_files.h"

#include <algorithm>

#include "base/fail.h"
#include "base/json.h"
#include "runtime/model_tokenizer.h"

namespace galago::runtime {
namespace {

vision::ImageProcessing image_processing(const Json& config, const std::string& model) {
  const std::string fit = get_string(config, "image.fit", model);
  const std::string filter = get_string(config, "image.resample", model);
  const std::int64_t crop = get_int(config, "image.crop", 1, 16384, model);
  vision::ImageProcessing processing;
  processing.fit = fit == "pad_square" ? vision::Fit::pad_square
                   : fit == "stretch"  ? vision::Fit::stretch
                                       : vision::Fit::crop_center;
  if (filter != "bicubic" && filter != "bilinear" && filter != "lanczos") {
    fail(ErrorCode::model, "{}: pictures are resized by \"{}\", expected bicubic, bilinear or lanczos", model,
         filter);
  }
  processing.filter = filter == "bilinear"  ? vision::Filter::bilinear
                      : filter == "lanczos" ? vision::Filter::lanczos
                                            : vision::Filter::bicubic;
  processing.shortest_edge = get_int(config, "image.size", 1, 16384, model);
  processing.tile = {crop, crop};
  processing.rescale_factor = get_number(config, "image.rescale_factor", 0, 1, model);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    processing.mean[channel] = find_json(config, "image.mean")->at(channel).get<double>();
    processing.std[channel] = find_json(config, "image.std")->at(channel).get<double>();
  }
  return processing;
}

/// Pictures must come out of the processing as large as the tower takes them.
void check_sizes(const Blueprint& files, const std::string& model) {
  const std::int64_t side = files.description.tower->image_size;
  if (files.image->tile.width == side) return;
  fail(ErrorCode::model, "{}: pictures are cut to {} pixels, the vision tower takes {}", model,
       files.image->tile.width, side);
}

/// The mark that stands for a picture in ids where the tokenizer has no token for one, as original LLaVA has
/// it.
constexpr std::int32_t image_mark_id = -200;

std::optional<std::int32_t> image_token(const Json& config, const model::Description& description) {
  if (!description.tower) return std::nullopt;
  const Json* id = find_json(config, "tokens.image_token_id");
  return id == nullptr || id->is_null() ? image_mark_id : id->get<std::int32_t>();
}

std::vector<std::int32_t> end_tokens(const Json& config, const text::Tokenizer& tokenizer) {
  std::vector<std::int32_t> ends;
  const Json* stated = find_json(config, "tokens.eos");
  if (stated != nullptr && stated->is_array()) ends = stated->get<std::vector<std::int32_t>>();
  if (stated != nullptr && stated->is_number_integer()) ends.push_back(stated->get<std::int32_t>());
  return ends.empty() ? tokenizer.end_tokens() : ends;
}

void check_vocabulary(const ModelFiles& files, const std::string& model) {
  const auto rows = static_cast<std::size_t>(files.description.decoder.vocab_size);
  if (files.tokenizer.size() <= rows) return;
  // The token that stands for a picture may lie beyond the embeddings: its rows come from the projector.
  if (files.image_token && files.tokenizer.size() == rows + 1 &&
      static_cast<std::size_t>(std::max(*files.image_token, 0)) == rows) {
    return;
  }
  fail(ErrorCode::model,
       "{}: the tokenizer has {} tokens, the embeddings {} rows; the files do not belong together", model,
       files.tokenizer.size(), rows);
}

}  // namespace

Blueprint draw_blueprint(checkpoint::Checkpoint checkpoint) {
  const std::string model = checkpoint.directory.string();
  const model::Description description = model::describe(checkpoint.config, model);
  Blueprint blueprint{std::move(checkpoint), description, {}};
  if (description.tower) {
    blueprint.image = image_processing(blueprint.checkpoint.config, model);
    check_sizes(blueprint, model);
  }
  return blueprint;
}

ModelFiles open_model(const std::filesystem::path& directory) {
  const std::string model = directory.string();
  Blueprint blueprint = draw_blueprint(checkpoint::open_checkpoint(directory));
  text::Tokenizer tokenizer = load_model_tokenizer(directory);
  text::ChatFormat chat = text::chat_format(get_string(blueprint.checkpoint.config, "chat", model));
  ModelFiles files{std::move(blueprint), std::move(tokenizer), std::move(chat), {}, {}};
  files.image_token = image_token(files.checkpoint.config, files.description);
  files.end_tokens = end_tokens(files.checkpoint.config, files.tokenizer);
  check_vocabulary(files, model);
  return files;
}

}  // namespace galago::runtime
