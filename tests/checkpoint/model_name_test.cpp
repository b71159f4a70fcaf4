// Names of models are found in made-up stores; damaged stores are refused with a sentence.
#include "checkpoint/model_name.h"

#include "scratch.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::expect_says;
using test::write_text;

constexpr const char* commit = "0123456789abcdef0123456789abcdef01234567";
const std::string model_hash(64, 'a');
const std::string projector_hash(64, 'b');

class ModelName : public ::testing::Test {
 protected:
  ModelName() : stores_{scratch_ / "hub", {scratch_ / "ollama", scratch_ / "none"}} {
    fs::create_directories(scratch_ / "ollama");
  }

  ModelPath find(const std::string& name) const { return find_model(name, stores_); }
  std::string complaint(const std::string& name) const {
    return error_of(ErrorCode::model, [&] { find(name); });
  }

  fs::path repository() const { return scratch_ / "hub" / "models--org--some-model"; }
  fs::path snapshot() const { return repository() / "snapshots" / commit; }
  /// A file as the hub's cache has it: a link into blobs.
  void add_hub_file(const std::string& name, const std::string& text) const {
    write_text(repository() / "blobs" / name, text);
    fs::create_directories(snapshot());
    fs::create_symlink(fs::path("../../blobs") / name, snapshot() / name);
  }
  void add_hub_model() const {
    write_text(repository() / "refs" / "main", commit);
    add_hub_file("config.json", "{}");
  }

  fs::path manifest(const std::string& name) const { return scratch_ / "ollama" / "manifests" / name; }
  void add_blob(const std::string& hash, std::size_t size) const {
    write_text(scratch_ / "ollama" / "blobs" / ("sha256-" + hash), std::string(size, 'x'));
  }
  static std::string layer(const std::string& type, const std::string& digest, int size) {
    return R"({"mediaType": "application/vnd.ollama.image.)" + type + R"(", "digest": ")" + digest +
           R"(", "size": )" + std::to_string(size) + "}";
  }
  static std::string layers(const std::string& list) { return R"({"layers": [)" + list + "]}"; }

  test::Scratch scratch_;
  ModelStores stores_;
};

TEST_F(ModelName, APathThatExistsIsTakenAsItIs) {
  add_hub_model();
  EXPECT_EQ(find(scratch_.path().string()).model, scratch_.path());
}

TEST_F(ModelName, TheSnapshotOfMainIsFoundInTheHubsCache) {
  add_hub_model();
  fs::create_directories(repository() / "snapshots" / "fedcba9876543210");
  EXPECT_EQ(find("org/some-model").model, snapshot());
}

TEST_F(ModelName, AnOnlySnapshotNeedsNoReference) {
  add_hub_file("config.json", "{}");
  EXPECT_EQ(find("org/some-model").model, snapshot());
}

TEST_F(ModelName, GgufFilesOfASnapshotAreAModelAndItsProjector) {
  write_text(repository() / "refs" / "main", std::string(commit) + "\n");
  add_hub_file("model-Q4_0.gguf", "GGUF");
  add_hub_file("mmproj-model-f16.gguf", "GGUF");
  const ModelPath found = find("org/some-model");
  EXPECT_EQ(found.model, snapshot() / "model-Q4_0.gguf");
  EXPECT_EQ(found.projector, snapshot() / "mmproj-model-f16.gguf");
  add_hub_file("model-Q8_0.gguf", "GGUF");
  expect_says(complaint("org/some-model"), "has 2 GGUF files (model-Q4_0.gguf, model-Q8_0.gguf)");
}

TEST_F(ModelName, AnIncompleteSnapshotIsNamed) {
  add_hub_model();
  add_hub_file("model.safetensors", "x");
  fs::remove(repository() / "blobs" / "model.safetensors");
  expect_says(complaint("org/some-model"), "is incomplete: model.safetensors is missing");
  expect_says(complaint("org/some-model"), "hf download org/some-model");
}

TEST_F(ModelName, AReferenceThatLeadsOutOfTheCacheIsRefused) {
  add_hub_model();
  write_text(repository() / "refs" / "main", "../../../../etc");
  expect_says(complaint("org/some-model"), "expected the hash of a snapshot");
  write_text(repository() / "refs" / "main", "deadbeefdeadbeef");
  expect_says(complaint("org/some-model"), "not the one that refs/main names");
}

TEST_F(ModelName, OllamasNamesFindTheirLayers) {
  add_blob(model_hash, 5);
  add_blob(projector_hash, 7);
  const std::string text = layers(layer("model", "sha256:" + model_hash, 5) + "," +
                                  layer("template", "sha256:" + projector_hash, 7) + "," +
                                  layer("projector", "sha256:" + projector_hash, 7));
  write_text(manifest("registry.ollama.ai/library/llava/latest"), text);
  write_text(manifest("registry.ollama.ai/someone/llava/13b"), text);
  write_text(manifest("hf.co/someone/llava/Q4_0"), text);
  for (const char* name : {"llava", "llava:latest", "someone/llava:13b", "hf.co/someone/llava:Q4_0"}) {
    const ModelPath found = find(name);
    EXPECT_EQ(found.model, scratch_ / "ollama" / "blobs" / ("sha256-" + model_hash)) << name;
    EXPECT_EQ(found.projector, scratch_ / "ollama" / "blobs" / ("sha256-" + projector_hash)) << name;
  }
}

TEST_F(ModelName, DamagedManifestsAreRefused) {
  const fs::path file = manifest("registry.ollama.ai/library/m/latest");
  const auto complaint_of = [&](const std::string& text) {
    write_text(file, text);
    return complaint("m");
  };
  expect_says(complaint_of("{"), "line 1");
  expect_says(complaint_of("[]"), "layers is missing");
  expect_says(complaint_of(R"({"layers": {}})"), "layers is missing or no array");
  expect_says(complaint_of(layers("")), "there is no layer of the type");
  expect_says(complaint_of(layers(R"(7, {"mediaType": 3})")), "there is no layer of the type");
  expect_says(complaint_of(layers(layer("model", "sha256:../../../etc/passwd", 5))), "64 hexadecimal digits");
  expect_says(complaint_of(layers(layer("model", "sha256:" + model_hash, 5))), "is missing");
  add_blob(model_hash, 4);
  expect_says(complaint_of(layers(layer("model", "sha256:" + model_hash, 5))),
              "is of 4 bytes, the manifest says 5");
  expect_says(complaint_of(layers(layer("model", "sha256:" + model_hash, -5))), "size");
}

TEST_F(ModelName, WhatIsNowhereTellsWhereWasLookedAndHowToGetIt) {
  const std::string sentence = complaint("org/other");
  expect_says(sentence, (scratch_ / "hub" / "models--org--other").string());
  expect_says(sentence, (scratch_ / "ollama" / "manifests/registry.ollama.ai/org/other/latest").string());
  expect_says(sentence, "hf download");
  expect_says(sentence, "ollama pull");
}

TEST_F(ModelName, WhatCannotBeANameIsLookedForNowhere) {
  for (const char* name : {"../up", "/no/such/place", "a//b", "a b", "x/", "a/.b", ""}) {
    EXPECT_EQ(complaint(name).find("models--"), std::string::npos) << name;
  }
}

TEST_F(ModelName, TheEnvironmentSaysWhereTheStoresAre) {
  ::setenv("HF_HUB_CACHE", "/a/hub", 1);
  ::setenv("OLLAMA_MODELS", "/b", 1);
  EXPECT_EQ(model_stores().hub, "/a/hub");
  EXPECT_EQ(model_stores().ollama.front(), "/b");
  ::unsetenv("HF_HUB_CACHE");
  ::setenv("HF_HOME", "/c", 1);
  EXPECT_EQ(model_stores().hub, "/c/hub");
  ::unsetenv("HF_HOME");
  ::unsetenv("XDG_CACHE_HOME");
  ::unsetenv("OLLAMA_MODELS");
  ::setenv("HOME", "/home/x", 1);
  EXPECT_EQ(model_stores().hub, "/home/x/.cache/huggingface/hub");
  EXPECT_EQ(model_stores().ollama.front(), "/home/x/.ollama/models");
}

}  // namespace
}  // namespace galago::checkpoint
