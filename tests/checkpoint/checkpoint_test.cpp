// Whole directories: the golden checkpoints account for every tensor, sharded ones too, and damaged ones are
// refused.
#include "checkpoint/checkpoint.h"

#include "base/json.h"
#include "checkpoint/scratch.h"
#include "tensor/convert.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::expect_says;
using test::Scratch;
using test::write_text;

fs::path golden(const char* name) {
  return fs::path(GALAGO_GOLDENS_DIR) / name;
}

std::string refusal(const fs::path& directory) {
  return error_of(ErrorCode::model, [&] { open_checkpoint(directory); });
}

/// A golden's JSON files without weights.
void copy_configuration(const char* name, const fs::path& to) {
  for (const char* file : {"config.json", "generation_config.json", "preprocessor_config.json"}) {
    if (fs::exists(golden(name) / file)) fs::copy_file(golden(name) / file, to / file);
  }
}

/// Writes the checkpoint's tensors to `path`, those whose name `wanted` accepts.
void write_part(const Checkpoint& from, const fs::path& path,
                const std::function<bool(const std::string&)>& wanted) {
  std::vector<TensorToWrite> part;
  for (const auto& [canonical, source] : from.tensors) {
    if (wanted(source.entry.name)) {
      part.push_back({source.entry.name, source.entry.dtype, source.entry.shape, from.bytes(source)});
    }
  }
  write_safetensors(path, part);
}

TEST(Checkpoint, AccountsForEveryTensorOfTheGoldens) {
  const struct {
    const char *name, *family;
    std::size_t tensors, ignored;
  } expected[] = {{"llava-1.5", "llava-1.5", 62, 18},
                  {"llava-1.5-original", "llava-1.5-original", 62, 20},
                  {"internlm-xcomposer2-vl", "internlm-xcomposer2", 102, 2},
                  {"text-llama", "llama", 21, 0}};
  for (const auto& one : expected) {
    const Checkpoint checkpoint = open_checkpoint(golden(one.name));
    EXPECT_EQ(checkpoint.family, one.family);
    EXPECT_TRUE(checkpoint.unknown.empty()) << one.name << ": " << checkpoint.unknown.front().name;
    EXPECT_EQ(checkpoint.tensors.size(), one.tensors) << one.name;
    EXPECT_EQ(checkpoint.ignored.size(), one.ignored) << one.name;
    for (const IgnoredTensor& tensor : checkpoint.ignored) EXPECT_FALSE(tensor.reason.empty());
  }
}

/// XComposer2's configuration without its weights; `change` edits it.
void write_xcomposer_config(const fs::path& to, const std::function<void(Json&)>& change) {
  Json config = parse_json_file((golden("internlm-xcomposer2-vl") / "config.json").string());
  change(config);
  write_text(to / "config.json", config.dump());
}

TEST(Checkpoint, KnowsTheTowerThatPublishedXComposerFilesLeaveOut) {
  const Scratch scratch;
  write_text(scratch / "model.safetensors", test::safetensors("{}", 0));
  const auto open = [&](std::int64_t img_size) {
    write_xcomposer_config(scratch.path(), [&](Json& config) {
      for (const char* key : {"vision_config", "plora_r", "plora_alpha"}) config.erase(key);
      config["img_size"] = img_size;
    });
    return open_checkpoint(scratch.path()).config;
  };
  const Json large = open(490);
  EXPECT_EQ(large.at("tower").at("hidden_size"), 1024);
  EXPECT_EQ(large.at("tower").at("n_layers_run"), 24);
  EXPECT_EQ(large.at("tower").at("position_size"), 490);
  EXPECT_EQ(large.at("image").at("crop"), 490);
  EXPECT_EQ(large.at("decoder").at("picture_rank"), 256);
  EXPECT_EQ(open(224).at("tower").at("position_size"), 224);
}

TEST(Checkpoint, OfXComposersThatTilePicturesIsRefused) {
  const Scratch scratch;
  write_xcomposer_config(scratch.path(), [](Json&) {});
  write_text(scratch / "model.safetensors",
             test::safetensors(R"({"plora_sub_GN":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", 2));
  expect_says(refusal(scratch.path()), "model.safetensors: has the tensor plora_sub_GN");
}

TEST(Checkpoint, GivesTheSameWeightsInBothLayouts) {
  const Checkpoint hub = open_checkpoint(golden("llava-1.5"));
  const Checkpoint original = open_checkpoint(golden("llava-1.5-original"));
  for (const auto& [name, source] : original.tensors) {
    ASSERT_TRUE(hub.tensors.contains(name)) << name;
    if (name == "decoder.embed.weight" || name == "decoder.output.weight") continue;  // padded in one of them
    const auto a = original.bytes(source);
    const auto b = hub.bytes(hub.tensors.at(name));
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << name;
  }
  EXPECT_EQ(hub.tensors.at("tower.patch.weight").entry.shape, (Shape{64, 3, 14, 14}));
}

TEST(Checkpoint, OpensShardsLikeASingleFile) {
  const Checkpoint whole = open_checkpoint(golden("llava-1.5"));
  const Scratch scratch;
  copy_configuration("llava-1.5", scratch.path());
  const auto is_tower = [](const std::string& name) { return name.starts_with("vision_tower"); };
  write_part(whole, scratch / "part-1.safetensors", is_tower);
  write_part(whole, scratch / "part-2.safetensors",
             std::not_fn(std::function<bool(const std::string&)>(is_tower)));
  const auto check = [&] {
    const Checkpoint parts = open_checkpoint(scratch.path());
    ASSERT_EQ(parts.files.size(), 2u);
    ASSERT_EQ(parts.tensors.size(), whole.tensors.size());
    for (const auto& [name, source] : whole.tensors) {
      const auto a = whole.bytes(source);
      const auto b = parts.bytes(parts.tensors.at(name));
      EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << name;
    }
  };
  check();  // without an index

  Json index;
  for (const auto& [name, source] : whole.tensors) {
    index["weight_map"][source.entry.name] =
        is_tower(source.entry.name) ? "part-1.safetensors" : "part-2.safetensors";
  }
  const auto write_index = [&](const Json& json) {
    write_text(scratch / "model.safetensors.index.json", json.dump());
  };
  write_index(index);
  check();

  Json changed = index;
  changed["weight_map"]["invented.weight"] = "part-1.safetensors";
  write_index(changed);
  expect_says(refusal(scratch.path()), "lacks the tensor invented.weight");
  changed = index;
  changed["weight_map"].erase("language_model.lm_head.weight");
  write_index(changed);
  expect_says(refusal(scratch.path()), "holds the tensor language_model.lm_head.weight");
  for (const char* escape : {"../part-1.safetensors", "/etc/passwd", "..", "", "a\\b"}) {
    changed = index;
    changed["weight_map"]["language_model.lm_head.weight"] = escape;
    write_index(changed);
    expect_says(refusal(scratch.path()), "is refused");
  }
  write_index(index);
  fs::remove(scratch / "part-2.safetensors");
  expect_says(refusal(scratch.path()), "the shard part-2.safetensors is not there");
  write_text(scratch / "model.safetensors.index.json", "{}");
  expect_says(refusal(scratch.path()), "weight_map is missing");
}

TEST(Checkpoint, KeepsTheStoredPrecisionPerTensor) {
  const Checkpoint whole = open_checkpoint(golden("text-llama"));
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const Scratch scratch;
    copy_configuration("text-llama", scratch.path());
    std::vector<std::vector<std::byte>> storage;
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, source] : whole.tensors) {
      std::vector<float> values(static_cast<std::size_t>(source.entry.shape.elements()));
      to_f32(source.entry.dtype, whole.bytes(source), values);
      std::vector<std::byte>& bytes = storage.emplace_back(values.size() * size_of(dtype));
      from_f32(dtype, values, bytes);
      tensors.push_back({source.entry.name, dtype, source.entry.shape, bytes});
    }
    write_safetensors(scratch / "model.safetensors", tensors);
    const Checkpoint copy = open_checkpoint(scratch.path());
    EXPECT_EQ(copy.tensors.size(), whole.tensors.size());
    for (const auto& [name, source] : copy.tensors) EXPECT_EQ(source.entry.dtype, dtype) << name;
  }
}

TEST(Checkpoint, ReadsTheNamesOfTransformers5) {
  const Checkpoint whole = open_checkpoint(golden("llava-1.5"));
  const Scratch scratch;
  copy_configuration("llava-1.5", scratch.path());
  std::vector<TensorToWrite> tensors;
  for (const auto& [canonical, source] : whole.tensors) {
    std::string name = source.entry.name;
    if (name.starts_with("vision_tower.vision_model.")) name = "model.vision_tower." + name.substr(26);
    if (name.starts_with("language_model.model.")) name = "model.language_model." + name.substr(21);
    if (name.starts_with("multi_modal")) name = "model." + name;
    if (name.starts_with("language_model.lm_head")) name = name.substr(15);
    tensors.push_back({name, source.entry.dtype, source.entry.shape, whole.bytes(source)});
  }
  write_safetensors(scratch / "model.safetensors", tensors);
  const Checkpoint renamed = open_checkpoint(scratch.path());
  EXPECT_EQ(renamed.tensors.size(), whole.tensors.size());
  EXPECT_TRUE(renamed.unknown.empty());
}

TEST(Checkpoint, TakesASeparateTowerFromBesideTheModel) {
  const Checkpoint whole = open_checkpoint(golden("llava-1.5-original"));
  const Scratch scratch;
  const fs::path model = scratch / "llava";
  fs::create_directories(model);
  copy_configuration("llava-1.5-original", model);
  const auto is_tower = [](const std::string& name) { return name.starts_with("model.vision_tower"); };
  write_part(whole, model / "model.safetensors", [&](const std::string& name) { return !is_tower(name); });
  ::setenv("HF_HUB_CACHE", (scratch / "hub").c_str(), 1);
  const std::string sentence = refusal(model);
  expect_says(sentence, "openai/clip-vit-large-patch14-336");
  expect_says(sentence, (scratch / "clip-vit-large-patch14-336").string());
  expect_says(sentence, "models--openai--clip-vit-large-patch14-336");

  std::vector<TensorToWrite> tower;
  for (const auto& [canonical, source] : whole.tensors) {
    if (!is_tower(source.entry.name)) continue;
    tower.push_back({source.entry.name.substr(std::string_view("model.vision_tower.vision_tower.").size()),
                     source.entry.dtype, source.entry.shape, whole.bytes(source)});
  }
  const float scale = 1;
  tower.push_back({"logit_scale", DType::f32, {}, std::as_bytes(std::span(&scale, 1))});
  const auto opens_with_tower_at = [&](const fs::path& place) {
    fs::create_directories(place);
    write_safetensors(place / "model.safetensors", tower);
    const Checkpoint checkpoint = open_checkpoint(model);
    EXPECT_EQ(checkpoint.tensors.size(), whole.tensors.size());
    EXPECT_TRUE(checkpoint.unknown.empty());
    EXPECT_EQ(checkpoint.files.size(), 2u);
    fs::remove_all(place);
  };
  opens_with_tower_at(scratch / "clip-vit-large-patch14-336");
  opens_with_tower_at(scratch / "hub/models--openai--clip-vit-large-patch14-336/snapshots/abc");
  ::unsetenv("HF_HUB_CACHE");
}

TEST(Checkpoint, ListsTensorsThatItDoesNotKnow) {
  const Scratch scratch;
  copy_configuration("text-llama", scratch.path());
  write_text(scratch / "model.safetensors",
             test::safetensors(
                 R"({"model.layers.7.mlp.up_proj.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                 R"("novel":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                 8));
  const Checkpoint checkpoint = open_checkpoint(scratch.path());
  ASSERT_EQ(checkpoint.unknown.size(), 2U);
  EXPECT_EQ(checkpoint.unknown[0].name, "model.layers.7.mlp.up_proj.weight");
  EXPECT_EQ(checkpoint.unknown[1].name, "novel");
}

TEST(Checkpoint, SaysWhatIsWrongWithADirectory) {
  const Scratch scratch;
  expect_says(refusal(scratch / "nowhere"), "is not there");
  expect_says(refusal(scratch.path()), "is empty");
  write_text(scratch / "file", "x");
  expect_says(refusal(scratch / "file"), "is a file");
  expect_says(refusal(scratch.path()), "config.json is missing");
  copy_configuration("text-llama", scratch.path());
  expect_says(refusal(scratch.path()), "no *.safetensors");
  write_text(scratch / "adapter_model.safetensors", "x");
  expect_says(refusal(scratch.path()), "LoRA adapter");
  write_text(scratch / "pytorch_model-00001-of-00002.bin", "x");
  expect_says(refusal(scratch.path()), "convert it");
  write_text(scratch / "a.safetensors",
             test::safetensors(R"({"n":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  fs::copy_file(scratch / "a.safetensors", scratch / "b.safetensors");
  expect_says(refusal(scratch.path()), "the tensor n is also in a.safetensors");
  fs::create_directory(scratch / "model.safetensors");
  expect_says(refusal(scratch.path()), "is a directory");
}

}  // namespace
}  // namespace galago::checkpoint
