// Sparse and damaged configuration files: class defaults fill in, wrong values are named.
#include "checkpoint/canonical_config.h"

#include "checkpoint/scratch.h"

namespace galago::checkpoint {
namespace {

using test::error_of;
using test::expect_says;
using test::Scratch;
using test::write_text;

Json configure(const Scratch& scratch, const std::string& config) {
  write_text(scratch / "config.json", config);
  ConfigFiles files(scratch.path());
  const Family& family = select_family(files, known_families());
  if (!family.supply_at.empty() && family.supply_name_by.empty())
    files.supply(family.supply_at, family.supply);
  return canonical_config(files, family);
}

std::string refusal(const std::string& config) {
  const Scratch scratch;
  const std::string sentence = error_of(ErrorCode::model, [&] { configure(scratch, config); });
  expect_says(sentence, "config.json");
  return sentence;
}

std::string llama_with(const std::string& fields) {
  return R"({"architectures":["LlamaForCausalLM"],)" + fields + "}";
}

// config.json of llava-hf/llava-1.5-7b-hf, which leaves the text model to LlamaConfig's defaults.
constexpr const char* published_hub =
    R"({"architectures":["LlavaForConditionalGeneration"],"ignore_index":-100,
  "image_token_index":32000,"model_type":"llava","pad_token_id":32001,"projector_hidden_act":"gelu",
  "text_config":{"_name_or_path":"lmsys/vicuna-7b-v1.5","architectures":["LlamaForCausalLM"],
    "max_position_embeddings":4096,"model_type":"llama","rms_norm_eps":1e-05,"torch_dtype":"float16","vocab_size":32064},
  "tie_word_embeddings":false,"torch_dtype":"float16","vision_config":{"hidden_size":1024,"image_size":336,
    "intermediate_size":4096,"model_type":"clip_vision_model","num_attention_heads":16,"num_hidden_layers":24,
    "patch_size":14,"projection_dim":768,"vocab_size":32000},
  "vision_feature_layer":-2,"vision_feature_select_strategy":"default","vocab_size":32064})";

TEST(CanonicalConfig, CompletesThePublishedHubFile) {
  const Scratch scratch;
  const Json config = configure(scratch, published_hub);
  EXPECT_EQ(config["decoder"], Json::parse(R"({"hidden_size":4096,"mlp_size":11008,"n_layers":32,"n_heads":32,
    "n_kv_heads":32,"head_size":128,"vocab_size":32064,"norm_eps":1e-5,"rope_theta":10000.0,"rope_scaling":null,
    "rope_original_context":null,"partial_rotary":1.0,"max_context":4096,"tied_embeddings":null,
    "sliding_window":null,"windowed":true,"first_windowed_layer":0,"layer_types":null,"activation":"silu",
    "attention_bias":false,"attention_out_bias":false})"));
  EXPECT_EQ(config["tower"], Json::parse(R"({"hidden_size":1024,"mlp_size":4096,"n_layers":24,"n_heads":16,
    "image_size":336,"patch_size":14,"norm_eps":1e-5,"activation":"quick_gelu","feature_layer":-2,"n_layers_run":23,
    "select":"patches"})"));
  EXPECT_EQ(config["projector"], Json::parse(R"({"type":"mlp","activation":"gelu"})"));
  EXPECT_EQ(config["tokens"], Json::parse(R"({"image_token_id":32000,"bos":1,"eos":[2],"pad":32001})"));
  EXPECT_EQ(config["image"]["size"], 336);
  EXPECT_EQ(config["image"]["fit"], "crop_center");
  EXPECT_EQ(config["chat"], "llava-1.5");
}

// config.json of liuhaotian/llava-v1.5-7b, which only names its tower.
TEST(CanonicalConfig, KnowsTheTowerThatThePublishedOriginalNames) {
  const Scratch scratch;
  const std::string config = R"({"_name_or_path":"llava-v1.5-7b","architectures":["LlavaLlamaForCausalLM"],
    "bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"image_aspect_ratio":"pad",
    "intermediate_size":11008,"max_length":4096,"max_position_embeddings":4096,"mm_hidden_size":1024,
    "mm_projector_type":"mlp2x_gelu","mm_resampler_type":null,"mm_use_im_patch_token":false,
    "mm_use_im_start_end":false,"mm_vision_select_feature":"patch","mm_vision_select_layer":-2,
    "mm_vision_tower":"openai/clip-vit-large-patch14-336","model_type":"llava","num_attention_heads":32,
    "num_hidden_layers":32,"num_key_value_heads":32,"pad_token_id":0,"rms_norm_eps":1e-05,"rope_scaling":null,
    "tie_word_embeddings":false,"torch_dtype":"float16","vocab_size":32000})";
  write_text(scratch / "config.json", config);
  ConfigFiles files(scratch.path());
  const Family& family = select_family(files, known_families());
  EXPECT_EQ(family.name, "llava-1.5-original");
  files.supply(family.supply_at, family.supply.at("openai/clip-vit-large-patch14-336"));
  const Json canonical = canonical_config(files, family);
  EXPECT_EQ(canonical["decoder"]["head_size"], 128);
  EXPECT_EQ(canonical["decoder"]["max_context"], 4096);
  EXPECT_EQ(canonical["tower"]["hidden_size"], 1024);
  EXPECT_EQ(canonical["tower"]["n_layers_run"], 23);
  EXPECT_EQ(canonical["image"]["fit"], "pad_square");
  EXPECT_EQ(canonical["image"]["crop"], 336);
  EXPECT_EQ(canonical["tokens"]["image_token_id"], nullptr);
  EXPECT_EQ(canonical["tokens"]["pad"], 0);
}

TEST(CanonicalConfig, UsesTheClassDefaultsOfAVisionConfigThatIsThere) {
  const Scratch scratch;
  const std::string start = R"({"architectures":["LlavaForConditionalGeneration"])";
  EXPECT_EQ(configure(scratch, start + R"(,"vision_config":{}})")["tower"]["patch_size"], 32);
  EXPECT_EQ(configure(scratch, start + "}")["tower"]["patch_size"], 14);  // LlavaConfig's own tower
}

TEST(CanonicalConfig, ReadsImageProcessingInBothSpellings) {
  const Scratch scratch;
  write_text(scratch / "preprocessor_config.json",
             R"({"size":224,"crop_size":200,"resample":2,"image_mean":[0,0,0]})");
  const Json old = configure(scratch, published_hub)["image"];
  EXPECT_EQ(old["size"], 224);
  EXPECT_EQ(old["crop"], 200);
  EXPECT_EQ(old["resample"], "bilinear");
  write_text(scratch / "preprocessor_config.json",
             R"({"size":{"shortest_edge":112},"crop_size":{"height":96,"width":96},"image_std":[1,1,1]})");
  const Json now = configure(scratch, published_hub)["image"];
  EXPECT_EQ(now["size"], 112);
  EXPECT_EQ(now["crop"], 96);
  EXPECT_EQ(now["std"], Json({1, 1, 1}));
  write_text(scratch / "preprocessor_config.json", R"({"do_center_crop":false})");
  expect_says(error_of(ErrorCode::model, [&] { configure(scratch, published_hub); }),
              "do_center_crop is false");
  write_text(scratch / "preprocessor_config.json", R"({"image_std":[1,0,1]})");
  expect_says(error_of(ErrorCode::model, [&] { configure(scratch, published_hub); }),
              "image_std is the number 0");
}

TEST(CanonicalConfig, NormalisesRotaryScaling) {
  const Scratch scratch;
  const auto scaling = [&](const std::string& fields) {
    return configure(scratch, llama_with(fields))["decoder"]["rope_scaling"];
  };
  EXPECT_EQ(scaling(R"("rope_scaling":{"type":"linear","factor":4.0})"),
            Json({{"type", "linear"}, {"factor", 4.0}}));
  EXPECT_EQ(scaling(R"("rope_scaling":{"type":"su","long_factor":[1,2]})")["type"], "longrope");
  EXPECT_EQ(scaling(R"("rope_parameters":{"rope_type":"default","rope_theta":500.0})"), nullptr);
  EXPECT_EQ(
      configure(
          scratch,
          llama_with(
              R"("rope_parameters":{"rope_type":"default","rope_theta":500.0})"))["decoder"]["rope_theta"],
      500.0);
  expect_says(refusal(llama_with(R"("rope_scaling":{"factor":2})")), "an object with a type");
  expect_says(refusal(llama_with(R"("rope_scaling":"linear")")), "rope_scaling is the string \"linear\"");
}

TEST(CanonicalConfig, AnAbsentWindowIsTheFamilysAndANullOneIsNone) {
  const Scratch scratch;
  const auto window = [&](const std::string& fields) {
    return configure(
        scratch, R"({"architectures":["MistralForCausalLM"])" + fields + "}")["decoder"]["sliding_window"];
  };
  EXPECT_EQ(window(""), 4096);
  EXPECT_EQ(window(R"(,"sliding_window":null)"), nullptr);
  EXPECT_EQ(window(R"(,"sliding_window":16)"), 16);
}

TEST(CanonicalConfig, Qwen2HasItsWindowOnlyWhereItSaysSo) {
  const Scratch scratch;
  const Json decoder = configure(scratch, R"({"architectures":["Qwen2ForCausalLM"],"sliding_window":9,
      "max_window_layers":2,"layer_types":["full_attention"]})")["decoder"];
  EXPECT_EQ(decoder["windowed"], false);
  EXPECT_EQ(decoder["sliding_window"], 9);
  EXPECT_EQ(decoder["first_windowed_layer"], 2);
  EXPECT_EQ(decoder["layer_types"], Json({"full_attention"}));
  EXPECT_EQ(decoder["attention_bias"], true);
  EXPECT_EQ(decoder["attention_out_bias"], false);
  expect_says(refusal(R"({"architectures":["Qwen2ForCausalLM"],"layer_types":"full"})"), "a list of strings");
  expect_says(refusal(R"({"architectures":["Qwen2ForCausalLM"],"layer_types":[1]})"), "expected a string");
}

TEST(CanonicalConfig, NamesValuesOfTheWrongTypeOrSize) {
  expect_says(refusal(llama_with(R"("hidden_size":"big")")),
              "hidden_size is the string \"big\", expected an integer");
  expect_says(refusal(llama_with(R"("hidden_size":-4096)")), "hidden_size is the number -4096");
  expect_says(refusal(llama_with(R"("hidden_size":0)")), "hidden_size is the number 0");
  expect_says(refusal(llama_with(R"("hidden_size":18446744073709551615)")), "expected an integer from 1 to");
  expect_says(refusal(llama_with(R"("hidden_size":12.5)")), "hidden_size is the number 12.5");
  expect_says(refusal(llama_with(R"("hidden_size":100,"num_attention_heads":3)")), "not a multiple");
  expect_says(refusal(llama_with(R"("rms_norm_eps":"small")")), "expected a number");
  expect_says(refusal(llama_with(R"("tie_word_embeddings":1)")), "expected true or false");
  expect_says(refusal(llama_with(R"("hidden_act":"relu")")), "expected silu or swish");
  expect_says(refusal(llama_with(R"("eos_token_id":[2,"x"])")), "eos_token_id is the string");
  expect_says(refusal(llama_with(R"("mlp_bias":true)")), "mlp_bias is true");
  const std::string llava = R"({"architectures":["LlavaForConditionalGeneration"],)";
  expect_says(refusal(llava + R"("text_config":7})"), "text_config is the number 7, expected an object");
  expect_says(refusal(llava + R"("vision_config":"clip"})"), "vision_config is the string");
  expect_says(refusal(llava + R"("vision_feature_layer":-40})"), "feature layer is -40");
  expect_says(refusal(llava + R"("text_config":{"model_type":"qwen2"}})"), "expected \"llama\" or nothing");
}

TEST(CanonicalConfig, NamesTheNearestKnownArchitecture) {
  const std::string sentence = refusal(R"({"architectures":["LlavaForConditionalGenerator"]})");
  expect_says(sentence, "LlavaForConditionalGenerator is unknown");
  expect_says(sentence, "nearest that it knows is LlavaForConditionalGeneration");
  expect_says(refusal(R"({"model_type":"lama"})"), "is llama");
  expect_says(refusal("{}"), "neither architectures nor model_type");
}

TEST(CanonicalConfig, RefusesMalformedFiles) {
  expect_says(refusal("{\n \"architectures\": [\n"), "line 3, column 1: malformed JSON");
  expect_says(refusal(""), "malformed JSON");
  expect_says(refusal("[1]"), "is an array, expected an object");
  expect_says(refusal(std::string(100000, '[')), "nested deeper than 64");
}

TEST(Families, OfOurOwnAreFreeOfSlips) {
  EXPECT_GE(known_families().size(), 7u);
  const auto slip = [](std::string_view text) {
    const EmbeddedFile file{"models/families/x.json", text};
    return error_of(ErrorCode::internal, [&] { parse_families(std::span(&file, 1)); });
  };
  expect_says(slip(R"({"name":"x","match":{"architectures":["X"]},"blocks":["none"]})"), "x.json");
  expect_says(slip(R"({"name":"x","match":{"architectures":["X"]},"colour":1})"),
              "the key colour is unknown");
  expect_says(slip(R"({"name":"x","match":{"architectures":["X"]},"tensors":{"{p}a":"b"}})"),
              "no prefix for {p}");
  expect_says(slip(R"({"match":{}})"), "x.json");
}

}  // namespace
}  // namespace galago::checkpoint
