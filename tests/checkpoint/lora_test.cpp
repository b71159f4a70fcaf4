// PEFT adapters: names of both styles, ranks and scales, factors of packed matrices, and what is refused.
#include "checkpoint/lora.h"

#include <array>
#include <cmath>

#include "checkpoint/scratch.h"

namespace galago::checkpoint {
namespace {

using test::error_of;
using test::expect_says;
using test::Scratch;
using test::write_text;

/// A base without weights: what its configuration says is enough.
Checkpoint base_of(const std::string& family) {
  Checkpoint base;
  base.family = family;
  base.directory = "base";
  base.config = {
      {"decoder", {{"n_layers", 2}, {"n_heads", 4}, {"n_kv_heads", 2}, {"head_size", 3}, {"mlp_size", 5}}}};
  return base;
}

class Adapter {
 public:
  explicit Adapter(const std::string& config) {
    write_text(scratch_ / "adapter_config.json",
               R"({"peft_type":"LORA","r":2,"lora_alpha":8)" + config + "}");
  }

  void add(const std::string& module, std::int64_t rows, std::int64_t rank = 2) {
    add_tensor(module + ".lora_A.weight", {rank, 7});
    add_tensor(module + ".lora_B.weight", {rows, rank});
  }
  void add_tensor(const std::string& name, Shape shape) {
    tensors_.push_back(
        {name, DType::f32, shape, {zeros_.data(), static_cast<std::size_t>(shape.elements()) * 4}});
  }

  LoraBranches load(Checkpoint& base) {
    write_safetensors(scratch_ / "adapter_model.safetensors", tensors_);
    return add_lora(base, scratch_.path(), "x.");
  }
  std::string refusal(const std::string& family = "llama") {
    Checkpoint base = base_of(family);
    return error_of(ErrorCode::model, [&] { load(base); });
  }

 private:
  Scratch scratch_;
  std::array<std::byte, 4096> zeros_{};
  std::vector<TensorToWrite> tensors_;
};

const std::string down = "base_model.model.model.layers.1.mlp.down_proj";

TEST(Lora, OfConvertedModelsGoByTheNamesThatTheModelHadBefore) {
  Adapter adapter("");
  adapter.add(down, 7);
  Checkpoint alone = base_of("gguf-llama");
  EXPECT_TRUE(adapter.load(alone).count("decoder.1.mlp.down"));
  Adapter seeing("");
  seeing.add("base_model.model.language_model.model.layers.1.mlp.down_proj", 7);
  Checkpoint pair = base_of("gguf-llama + gguf-llava-1.5");
  EXPECT_TRUE(seeing.load(pair).count("decoder.1.mlp.down"));
  expect_says(seeing.refusal("gguf-llama"), "the adapter belongs to another base");
  expect_says(adapter.refusal("none at all"), "adapters go with a model's own files, not with base");
}

TEST(Lora, FindsTheMatrixBesideWhichABranchStands) {
  Adapter adapter("");
  adapter.add(down, 9);
  Checkpoint base = base_of("llama");
  const LoraBranches branches = adapter.load(base);
  ASSERT_EQ(branches.size(), 1U);
  EXPECT_EQ(branches.at("decoder.1.mlp.down").rank, 2);
  EXPECT_EQ(branches.at("decoder.1.mlp.down").scale, 4);
  EXPECT_EQ(base.tensors.at("x.decoder.1.mlp.down.a").shape, (Shape{2, 7}));
  EXPECT_EQ(base.tensors.at("x.decoder.1.mlp.down.b").shape, (Shape{9, 2}));
  EXPECT_EQ(base.files.size(), 1U);
}

TEST(Lora, KnowsTheNamesOfBothStyles) {
  for (const char* decoder : {"language_model.model.", "model.language_model."}) {
    Adapter adapter("");
    adapter.add(std::string("base_model.model.") + decoder + "layers.0.self_attn.q_proj", 12);
    Checkpoint base = base_of("llava-1.5");
    EXPECT_TRUE(adapter.load(base).contains("decoder.0.attn.q")) << decoder;
  }
}

TEST(Lora, PatternsAndRankStabilisationSetRankAndScale) {
  Adapter adapter(
      R"(,"use_rslora":true,"rank_pattern":{"down_proj":4},"alpha_pattern":{"layers.1.mlp.down_proj":6})");
  adapter.add(down, 9, 4);
  Checkpoint base = base_of("llama");
  EXPECT_DOUBLE_EQ(adapter.load(base).at("decoder.1.mlp.down").scale, 6 / std::sqrt(4.0));
}

TEST(Lora, PatternsAreRegularExpressionsAndTheFirstThatMatchesCounts) {
  const auto scale = [](const std::string& patterns) {
    Adapter adapter(R"(,"alpha_pattern":)" + patterns);
    adapter.add(down, 9);
    Checkpoint base = base_of("llama");
    return adapter.load(base).at("decoder.1.mlp.down").scale;
  };
  EXPECT_EQ(scale(R"({".*\\.[1-3]\\.mlp\\.(up|down)_proj":6})"), 3);
  EXPECT_EQ(scale(R"({"layers.0.mlp.down_proj":6})"), 4) << "another layer";
  EXPECT_EQ(scale(R"({"own_proj":6})"), 4) << "no whole part of the path";
  EXPECT_EQ(scale(R"({"model.layers.1":6})"), 4) << "not to the path's end";
  EXPECT_EQ(scale(R"({"model.layers.1.mlp.down_proj":6})"), 3);
  EXPECT_EQ(scale(R"({"z":1,"mlp.down_proj":10,"down_proj":6})"), 5);
  EXPECT_EQ(scale(R"({"down_proj":6,"mlp.down_proj":10})"), 3);
}

TEST(Lora, AFactorOfAPackedMatrixIsTakenApartLikeTheMatrix) {
  Adapter adapter("");
  adapter.add("base_model.model.model.layers.0.attention.wqkv", 24);
  Checkpoint base = base_of("internlm2");
  const LoraBranches branches = adapter.load(base);
  EXPECT_EQ(branches.size(), 3U);
  EXPECT_EQ(base.tensors.at("x.decoder.0.attn.q.b").shape, (Shape{12, 2}));
  EXPECT_EQ(base.tensors.at("x.decoder.0.attn.k.b").rows.at(1).first, 12 + 6);
}

TEST(Lora, RefusesAdaptersOfAnotherBase) {
  Adapter layers("");
  layers.add("base_model.model.model.layers.2.mlp.down_proj", 9);
  expect_says(layers.refusal(), "belongs to another base");
  Adapter unknown("");
  unknown.add("base_model.model.transformer.h.0.attn.c_attn", 9);
  expect_says(unknown.refusal(), "transformer.h.0.attn.c_attn");
  Adapter head("");
  head.add("base_model.model.lm_head", 9);
  expect_says(head.refusal(), "no linear layer of the decoder");
  Adapter packed("");
  packed.add("base_model.model.model.layers.0.attention.wqkv", 23);
  expect_says(packed.refusal("internlm2"), "24 rows");
}

TEST(Lora, RefusesKindsThatItDoesNotCompute) {
  const auto refused = [](const std::string& config) {
    Adapter adapter(config);
    adapter.add(down, 9);
    return adapter.refusal();
  };
  expect_says(refused(R"(,"use_dora":true)"), "use_dora is true");
  expect_says(refused(R"(,"bias":"all")"), "bias is the string \"all\"");
  expect_says(refused(R"(,"modules_to_save":["lm_head"])"), "modules_to_save");
  expect_says(refused(R"(,"peft_type":"IA3")"), "expected LORA");
  expect_says(refused(R"(,"rank_pattern":{"down(":2})"), "regular expression");
  expect_says(refused(R"(,"rank_pattern":[2])"), "rank_pattern is an array, expected an object");
  expect_says(refused(R"(,"alpha_pattern":{"down_proj":"x"})"), "expected a positive number");
  expect_says(refused(R"(,"alpha_pattern":{"(.+)+1":1})"), "cannot be held against");
  expect_says(refused(R"(,"r":3)"), "states the rank 3");
}

TEST(Lora, RefusesFactorsThatAreMissingOrNoFactors) {
  Adapter half("");
  half.add_tensor(down + ".lora_A.weight", {2, 7});
  expect_says(half.refusal(), "only one of its two factors");
  Adapter magnitude("");
  magnitude.add_tensor(down + ".lora_magnitude_vector", {9});
  expect_says(magnitude.refusal(), "lora_magnitude_vector");
  Adapter flat("");
  flat.add_tensor(down + ".lora_A.weight", {14});
  expect_says(flat.refusal(), "is no factor");
  expect_says(Adapter("").refusal(), "has no tensors");
  const Scratch empty;
  Checkpoint base = base_of("llama");
  expect_says(error_of(ErrorCode::model, [&] { add_lora(base, empty.path(), "x."); }),
              "adapter_config.json: is missing");
  write_text(empty / "adapter_config.json", "{}");
  write_text(empty / "adapter_model.bin", "x");
  expect_says(error_of(ErrorCode::model, [&] { add_lora(base, empty.path(), "x."); }),
              "convert it with PEFT");
}

}  // namespace
}  // namespace galago::checkpoint
