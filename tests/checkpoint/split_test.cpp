// Stored tensors that hold several canonical ones are taken apart by rows, as the configuration counts them.
#include "checkpoint/scratch.h"
#include "checkpoint/tensor_names.h"

namespace galago::checkpoint {
namespace {

using test::error_of;
using test::expect_says;

Family family_of(std::string_view split) {
  std::string text =
      R"({"name": "f", "match": {"architectures": ["F"]}, "prefixes": {"decoder": ["m.", "n."]},
                         "split": )";
  text.append(split).append("}");
  const EmbeddedFile file{"families/f.json", text};
  return parse_families({&file, 1}).front();
}

const Family& packed() {
  static const Family family = family_of(R"({
    "{decoder}layers.{i}.qkv.weight": {
      "groups": "decoder.n_kv_heads",
      "parts": [{"tensor": "decoder.{i}.q", "rows": ["decoder.n_heads", "decoder.head_size"]},
                {"tensor": "decoder.{i}.k", "rows": ["decoder.n_kv_heads", "decoder.head_size"]},
                {"tensor": "decoder.{i}.v", "rows": ["decoder.n_kv_heads", "decoder.head_size"]}]},
    "{decoder}layers.{i}.gate_up.weight": {
      "parts": [{"tensor": "decoder.{i}.gate", "rows": ["decoder.mlp_size"]},
                {"tensor": "decoder.{i}.up", "rows": ["decoder.mlp_size"]}]}})");
  return family;
}

Json config(int n_heads = 6) {
  return {{"decoder", {{"n_heads", n_heads}, {"n_kv_heads", 2}, {"head_size", 5}, {"mlp_size", 7}}}};
}

TensorSource stored(const std::string& name, Shape shape) {
  return {0, {name, DType::f32, shape, 0, 0}, shape, {}};
}

TEST(SplitTensors, ConsecutivePartsFollowOneAnother) {
  const auto parts =
      canonical_tensors(packed(), stored("n.layers.12.gate_up.weight", {14, 3}), config(), "f");
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[1].name.name, "decoder.12.up");
  EXPECT_EQ(parts[1].name.layer, 12);
  EXPECT_EQ(parts[1].source.shape, (Shape{7, 3}));
  ASSERT_EQ(parts[1].source.rows.size(), 1U);
  EXPECT_EQ(parts[1].source.rows[0].first, 7);
  EXPECT_EQ(parts[1].source.rows[0].count, 7);
}

TEST(SplitTensors, GroupedPartsTakeTheirShareOfEachGroup) {
  const auto parts = canonical_tensors(packed(), stored("m.layers.0.qkv.weight", {50, 3}), config(), "f");
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[0].source.shape, (Shape{30, 3}));
  EXPECT_EQ(parts[2].source.shape, (Shape{10, 3}));
  // A group: three query heads (15 rows), a key head (5), a value head (5).
  const std::int64_t firsts[3][2] = {{0, 25}, {15, 40}, {20, 45}};
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(parts[i].source.rows.size(), 2U);
    for (std::size_t group = 0; group < 2; ++group) {
      EXPECT_EQ(parts[i].source.rows[group].first, firsts[i][group]);
      EXPECT_EQ(parts[i].source.rows[group].count, i == 0 ? 15 : 5);
    }
  }
}

TEST(SplitTensors, BiasesAreSplitLikeRows) {
  const auto parts = canonical_tensors(packed(), stored("m.layers.0.qkv.weight", {50}), config(), "f");
  EXPECT_EQ(parts.at(1).source.shape, (Shape{10}));
}

TEST(SplitTensors, OtherNamesHaveNoParts) {
  EXPECT_TRUE(canonical_tensors(packed(), stored("m.layers.x.qkv.weight", {50}), config(), "f").empty());
}

TEST(SplitTensors, RowsThatTheConfigurationDoesNotCountAreRefused) {
  for (const Shape& shape : {Shape{49, 3}, Shape{}}) {
    const std::string sentence = error_of(ErrorCode::model, [&] {
      canonical_tensors(packed(), stored("m.layers.0.qkv.weight", shape), config(), "dir/model.safetensors");
    });
    expect_says(sentence, "dir/model.safetensors");
    expect_says(sentence, shape.to_string());
    expect_says(sentence, "50 rows");
  }
}

TEST(SplitTensors, GroupsThatDoNotDivideThePartsAreRefused) {
  const std::string sentence = error_of(ErrorCode::model, [&] {
    canonical_tensors(packed(), stored("m.layers.3.qkv.weight", {45, 3}), config(5), "f");
  });
  expect_says(sentence, "25 rows of decoder.3.q in 2 groups");
}

}  // namespace
}  // namespace galago::checkpoint
