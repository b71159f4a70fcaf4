// Reading models/shapes/*.json and putting them through the same family descriptions as files.
#include "checkpoint/shapes.h"

#include "base/fail.h"
#include "base/printable.h"
#include "checkpoint/canonical_config.h"
#include "checkpoint/config_files.h"
#include "checkpoint/family.h"

namespace galago {

std::span<const EmbeddedFile> shape_files();  // by galago_embed

namespace checkpoint {
namespace {

DType parse_stored(const std::string& name, std::string_view where) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    if (name_of(dtype) == name) return dtype;
  }
  fail(ErrorCode::internal, "{}: stored is {}, expected fp32, fp16 or bf16", where, name);
}

KnownShape parse_shape(const EmbeddedFile& file) {
  KnownShape shape;
  std::string_view stem = file.name.substr(file.name.rfind('/') + 1);
  stem.remove_suffix(std::string_view(".json").size());
  shape.name = stem;
  const Json json = parse_json(file.text, file.name, RepeatedKeys::refuse);
  for (const auto& [key, value] : json.items()) {
    if (key == "about") {
      shape.about = value.get<std::string>();
    } else if (key == "stored") {
      shape.stored = parse_stored(value.get<std::string>(), file.name);
    } else {
      shape.files.emplace(key, value);
    }
  }
  if (!shape.files.contains("config.json"))
    fail(ErrorCode::internal, "{}: config.json is missing", file.name);
  return shape;
}

}  // namespace

std::vector<KnownShape> parse_shapes(std::span<const EmbeddedFile> files) {
  std::vector<KnownShape> shapes;
  for (const EmbeddedFile& file : files) {
    try {
      shapes.push_back(parse_shape(file));
    } catch (const Json::exception& error) {
      fail(ErrorCode::internal, "{}: {}", file.name, error.what());
    }
  }
  return shapes;
}

const std::vector<KnownShape>& known_shapes() {
  static const std::vector<KnownShape> shapes = parse_shapes(shape_files());
  return shapes;
}

const KnownShape& find_shape(std::string_view name) {
  std::string known;
  for (const KnownShape& shape : known_shapes()) {
    if (shape.name == name) return shape;
    known += (known.empty() ? "" : ", ") + shape.name;
  }
  fail(ErrorCode::usage, "the shape {} is unknown, expected one of {}", printable(std::string(name)), known);
}

Checkpoint open_shape(const KnownShape& shape) {
  std::string label = "shape ";
  label += shape.name;
  ConfigFiles files(label, shape.files);
  Checkpoint checkpoint;
  const Family& family = select_family(files, known_families());
  checkpoint.family = family.name;
  checkpoint.directory = label;
  checkpoint.config = canonical_config(files, family);
  // There are no tensors that could tell whether the output is tied to the embeddings.
  Json& tied = checkpoint.config["decoder"]["tied_embeddings"];
  if (tied.is_null()) tied = false;
  return checkpoint;
}

}  // namespace checkpoint
}  // namespace galago
