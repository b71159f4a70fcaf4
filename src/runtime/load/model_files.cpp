#include "runtime/load/model_files.h"

#include <algorithm>

#include "base/fail.h"
#include "base/json.h"
#include "runtime/load/model_tokenizer.h"

namespace galago::runtime {
namespace {

/// Canvases that LLaVA-1.6 may lay a picture out on.
std::vector<vision::Size> canvases(const Json& config, const std::string& model, vision::Size tile) {
  const bool width_first = get_string(config, "image.grid_order", model) == "width_height";
  std::vector<vision::Size> sizes;
  for (const Json& pair : *find_json(config, "image.grids")) {
    const auto first = pair.at(0).get<std::int64_t>();
    const auto second = pair.at(1).get<std::int64_t>();
    const vision::Size size = width_first ? vision::Size{first, second} : vision::Size{second, first};
    if (size.width % tile.width != 0 || size.height % tile.height != 0) {
      fail(ErrorCode::model, "{}: a grid of {}x{} pixels is not a whole number of tiles of {}x{}", model,
           size.width, size.height, tile.width, tile.height);
    }
    sizes.push_back(size);
  }
  return sizes;
}

/// Families that say nothing of tiles have one a picture.
void add_tiling(const Json& config, const std::string& model, vision::ImageProcessing& processing) {
  if (find_json(config, "image.tiling") == nullptr) return;
  const std::string tiling = get_string(config, "image.tiling", model);
  if (tiling == "anyres") {
    processing.tiling = vision::Tiling::anyres;
    processing.canvases = canvases(config, model, processing.tile);
    if (processing.shortest_edge != processing.tile.width) {
      fail(ErrorCode::model, "{}: pictures are resized to {} pixels, expected the tile's {}", model,
           processing.shortest_edge, processing.tile.width);
    }
  } else if (tiling == "dynamic") {
    processing.tiling = vision::Tiling::dynamic;
    processing.max_grid_tiles = get_int(config, "image.max_tiles", 1, 256, model);
    processing.min_grid_tiles = get_int(config, "image.min_tiles", 1, processing.max_grid_tiles, model);
    processing.thumbnail = get_bool(config, "image.thumbnail", model);
  }
}

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
  add_tiling(config, model, processing);
  return processing;
}

/// Pictures must come out of the processing as large as the tower takes them.
void check_sizes(const Blueprint& files, const std::string& model) {
  const std::int64_t side = files.description.tower->image_size;
  if (files.image->tile.width == side) return;
  fail(ErrorCode::model, "{}: pictures are cut to {} pixels, the vision tower takes {}", model,
       files.image->tile.width, side);
}

/// Tables that are made for a picture, and the decoder's positions, stay within bounds.
void check_tokens(const Blueprint& files, const std::string& model) {
  constexpr std::int64_t most = 1 << 24;
  for (const vision::Size& picture : vision::largest_pictures(*files.image)) {
    const std::int64_t n_tiles = vision::plan_tiles(picture, *files.image).n_tiles();
    if (n_tiles * files.description.tokens_per_tile() <= most) continue;
    fail(ErrorCode::model, "{}: a picture of {} tiles with {} tokens each is beyond {} tokens", model,
         n_tiles, files.description.tokens_per_tile(), most);
  }
}

/// The mark that stands for a picture in ids where the tokenizer has no token for one, as original LLaVA has
/// it.
constexpr std::int32_t image_mark_id = -200;

/// The family's token for pictures by its id or by its name, or the mark that it has instead.
std::optional<std::int32_t> image_token(const Blueprint& blueprint, const text::Tokenizer& tokenizer,
                                        const std::string& model) {
  if (!blueprint.description.tower) return std::nullopt;
  const Json& config = blueprint.checkpoint.config;
  const Json* id = find_json(config, "tokens.image_token_id");
  if (id != nullptr && !id->is_null()) return id->get<std::int32_t>();
  if (find_json(config, "tokens.image_token") != nullptr) {
    const std::string name = get_string(config, "tokens.image_token", model);
    const auto found = tokenizer.find(name);
    if (!found) fail(ErrorCode::model, "{}: the tokenizer has no token {} for pictures", model, name);
    return found;
  }
  const Json* mark = find_json(config, "tokens.image_mark_id");
  return mark == nullptr ? image_mark_id : mark->get<std::int32_t>();
}

std::string image_text(const Json& config, const std::string& model) {
  if (find_json(config, "tokens.image_text") == nullptr) return std::string(image_mark);
  return get_string(config, "tokens.image_text", model);
}

std::vector<std::int32_t> end_tokens(const Json& config, const text::Tokenizer& tokenizer) {
  std::vector<std::int32_t> ends;
  const Json* stated = find_json(config, "tokens.eos");
  if (stated != nullptr && stated->is_array()) ends = stated->get<std::vector<std::int32_t>>();
  if (stated != nullptr && stated->is_number_integer()) ends.push_back(stated->get<std::int32_t>());
  return ends.empty() ? tokenizer.end_tokens() : ends;
}

/// What the chat format ends an answer with: a token if the tokenizer has it as one, else a string.
void add_ends_of_chat(ModelFiles& files) {
  files.stop_strings = files.chat.format.stop_strings();
  for (const std::string& end : files.chat.format.end_tokens()) {
    const std::optional<std::int32_t> id = files.tokenizer.find(end);
    if (!id) {
      files.stop_strings.push_back(end);
    } else if (std::find(files.end_tokens.begin(), files.end_tokens.end(), *id) == files.end_tokens.end()) {
      files.end_tokens.push_back(*id);
    }
  }
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
    check_tokens(blueprint, model);
  }
  return blueprint;
}

ModelFiles open_model(const std::filesystem::path& directory, const std::string& chat_format,
                      const std::filesystem::path& projector) {
  const std::string model = directory.string();
  Blueprint blueprint = draw_blueprint(checkpoint::open_checkpoint(directory, projector));
  text::Tokenizer tokenizer = load_model_tokenizer(directory);
  ChatChoice chat =
      choose_chat_format(chat_format, blueprint.checkpoint.config, directory, find_model_template(directory));
  ModelFiles files{std::move(blueprint), std::move(tokenizer), std::move(chat), {}, {}, {}, {}};
  files.image_token = image_token(files, files.tokenizer, model);
  files.image_text = image_text(files.checkpoint.config, model);
  files.end_tokens = end_tokens(files.checkpoint.config, files.tokenizer);
  add_ends_of_chat(files);
  check_vocabulary(files, model);
  return files;
}

}  // namespace galago::runtime
