// The names are those that our own family descriptions read, the keys likewise.
#include "runtime/convert/write_mmproj.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/fail.h"
#include "checkpoint/family.h"
#include "checkpoint/gguf_writer.h"
#include "runtime/convert/source_rows.h"
#include "tensor/convert.h"

namespace galago::runtime {
namespace {

using checkpoint::GgufMetadata;
using checkpoint::GgufStorage;

/// Canonical names, with {i}, to those of files; of several the first.
std::map<std::string, std::string> names_of(std::string_view family_name) {
  std::map<std::string, std::string> names;
  for (const checkpoint::Family& family : checkpoint::known_families()) {
    if (family.name != family_name) continue;
    for (const auto& [stored, canonical] : family.tensors) names.emplace(canonical, stored);
  }
  return names;
}

/// The first number between dots becomes {i}; the number is what stood there.
std::string pattern_of(const std::string& name, std::string& number) {
  const std::size_t start = name.find('.') + 1;
  const std::size_t end = name.find('.', start);
  number = name.substr(start, end - start);
  const bool is_layer =
      name.starts_with("tower.") && !number.empty() &&
      std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_layer) return name;
  return std::string(name).replace(start, number.size(), "{i}");
}

class TowerFile {
 public:
  TowerFile(const checkpoint::Checkpoint& checkpoint, const std::function<void(std::string_view)>& on_tensor)
      : checkpoint_(checkpoint),
        config_(checkpoint.config),
        model_(checkpoint.directory.string()),
        on_tensor_(on_tensor),
        is_internvl_(word("projector.type") == "pixel_shuffle_mlp") {
    add_keys();
    if (is_internvl_) {
      add_internvl_keys();
    } else {
      add_llava_keys();
    }
    add_tensors();
  }

  void write(const std::filesystem::path& file) const { checkpoint::write_gguf(file, metadata_, tensors_); }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::model, "{}: {}: it cannot be written as a GGUF file", model_, what);
  }

  std::string word(const char* key) const { return get_string(config_, key, model_); }
  std::string word_or(const char* key, const char* otherwise) const {
    return find_json(config_, key) == nullptr ? otherwise : word(key);
  }
  std::uint32_t count(const char* key) const {
    return static_cast<std::uint32_t>(get_int(config_, key, 0, std::int64_t{1} << 31, model_));
  }
  void numbers(const char* key, const char* canonical) {
    metadata_.add(key, std::span<const float>(find_json(config_, canonical)->get<std::vector<float>>()));
  }

  void add_keys() {
    metadata_.add("general.architecture", std::string_view("clip"));
    metadata_.add("general.type", std::string_view("mmproj"));
    metadata_.add("general.file_type", std::uint32_t{1});
    metadata_.add("clip.has_vision_encoder", true);
    metadata_.add("clip.projector_type", std::string_view(is_internvl_ ? "internvl" : "mlp"));
    metadata_.add("clip.use_gelu", word("tower.activation") == "gelu");
    metadata_.add("clip.vision.image_size", count("tower.image_size"));
    metadata_.add("clip.vision.patch_size", count("tower.patch_size"));
    metadata_.add("clip.vision.embedding_length", count("tower.hidden_size"));
    metadata_.add("clip.vision.feed_forward_length", count("tower.mlp_size"));
    metadata_.add("clip.vision.block_count", count("tower.n_layers_run"));
    metadata_.add("clip.vision.attention.head_count", count("tower.n_heads"));
    metadata_.add("clip.vision.projection_dim", count("decoder.hidden_size"));
    metadata_.add("clip.vision.attention.layer_norm_epsilon",
                  static_cast<float>(get_number(config_, "tower.norm_eps", 0, 1, model_)));
    numbers("clip.vision.image_mean", "image.mean");
    numbers("clip.vision.image_std", "image.std");
  }

  void add_internvl_keys() {
    const bool tiled = word("image.tiling") == "dynamic";
    const std::uint32_t most = tiled ? count("image.max_tiles") : 1;
    if (most > 1 && !get_bool(config_, "image.thumbnail", model_)) refuse("has tiles without a thumbnail");
    metadata_.add("clip.vision.preproc_min_tiles", tiled ? count("image.min_tiles") : 1);
    metadata_.add("clip.vision.preproc_max_tiles", most);
    const double ratio = get_number(config_, "projector.downsample_ratio", 1e-3, 1, model_);
    metadata_.add("clip.vision.projector.scale_factor", static_cast<std::uint32_t>(std::lround(1 / ratio)));
  }

  void add_llava_keys() {
    if (word("tower.select") != "patches") refuse("hands on the tower's class token");
    if (word_or("tower.norm", "layer_norm") != "layer_norm") refuse("has a tower with RMSNorm");
    metadata_.add("clip.has_llava_projector", true);
    const std::string tiling = word_or("image.tiling", "single");
    if (tiling == "anyres") {
      metadata_.add("clip.vision.image_aspect_ratio", std::string_view("anyres"));
      metadata_.add("clip.vision.mm_patch_merge_type", std::string_view("spatial_unpad"));
      const std::size_t width_at = word("image.grid_order") == "width_height" ? 0 : 1;
      std::vector<std::int32_t> sides;
      for (const Json& pair : *find_json(config_, "image.grids")) {
        sides.push_back(pair.at(width_at));
        sides.push_back(pair.at(1 - width_at));
      }
      metadata_.add("clip.vision.image_grid_pinpoints", std::span<const std::int32_t>(sides));
    } else if (word("image.fit") == "pad_square") {
      metadata_.add("clip.vision.image_aspect_ratio", std::string_view("pad"));
    }
  }

  void add_tensors() {
    const auto names = names_of(is_internvl_                                    ? "gguf-internvl"
                                : word_or("image.tiling", "single") == "anyres" ? "gguf-llava-1.6"
                                                                                : "gguf-llava-1.5");
    for (const auto& [canonical, source] : checkpoint_.tensors) {
      if (!canonical.starts_with("tower.") && !canonical.starts_with("projector.")) continue;
      std::string number;
      const auto found = names.find(pattern_of(canonical, number));
      if (found == names.end())
        refuse(fmt::format("has the tensor {}, which such files have no name for", canonical));
      std::string name = found->second;
      if (const std::size_t at = name.find("{i}"); at != std::string::npos) name.replace(at, 3, number);
      add(name, source);
    }
  }

  /// Dimensions of one at the front go; matrices become FP16, all else FP32.
  void add(const std::string& name, const checkpoint::TensorSource& source) {
    Shape shape;
    for (std::size_t i = 0; i < source.shape.rank(); ++i) {
      if (shape.rank() > 0 || source.shape[i] != 1 || i + 1 == source.shape.rank())
        shape.append(source.shape[i]);
    }
    const bool is_matrix = shape.rank() == 2 && name.find("position") == std::string::npos;
    const GgufStorage storage = is_matrix ? GgufStorage::f16 : GgufStorage::f32;
    tensors_.push_back({name, storage, shape, [this, &source, name, is_matrix](const ByteSink& sink) {
                          if (on_tensor_) on_tensor_(name);
                          const SourceRows rows(checkpoint_, source);
                          const DType dtype = is_matrix ? DType::f16 : DType::f32;
                          std::vector<float> row(static_cast<std::size_t>(rows.cols()));
                          std::vector<std::byte> bytes(row.size() * size_of(dtype));
                          for (std::int64_t i = 0; i < rows.count(); ++i) {
                            rows.read(i, row);
                            from_f32(dtype, row, bytes);
                            sink(bytes);
                          }
                        }});
  }

  const checkpoint::Checkpoint& checkpoint_;
  const Json& config_;
  std::string model_;
  const std::function<void(std::string_view)>& on_tensor_;
  bool is_internvl_;
  GgufMetadata metadata_;
  std::vector<checkpoint::GgufTensorToMake> tensors_;
};

}  // namespace

void write_mmproj(const checkpoint::Checkpoint& checkpoint, const std::filesystem::path& file,
                  const std::function<void(std::string_view)>& on_tensor) {
  TowerFile(checkpoint, on_tensor).write(file);
}

}  // namespace galago::runtime
