// What the canonical configuration says of a decoder's layers.
#include "model/description.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "galago/error.h"

namespace galago::model {
namespace {

using nlohmann::json;
using Windows = std::vector<std::int64_t>;

DecoderShape decoder_with(const json& more) {
  json decoder = {{"hidden_size", 24},      {"mlp_size", 20},       {"n_layers", 3},
                  {"n_heads", 6},           {"n_kv_heads", 2},      {"head_size", 10},
                  {"vocab_size", 50},       {"max_context", 100},   {"norm_eps", 1e-5},
                  {"rope_theta", 10000.0},  {"activation", "silu"}, {"attention_bias", false},
                  {"tied_embeddings", true}};
  decoder.update(more);
  return describe({{"decoder", decoder}}, "dir").decoder;
}

TEST(Description, WithoutAWindowLayersSeeEverything) {
  EXPECT_EQ(decoder_with({{"sliding_window", nullptr}}).windows, (Windows{0, 0, 0}));
  EXPECT_EQ(decoder_with(json::object()).windows, (Windows{0, 0, 0}));
}

TEST(Description, AWindowHoldsInAllLayersOrInThoseThatAreNamed) {
  EXPECT_EQ(decoder_with({{"sliding_window", 7}}).windows, (Windows{7, 7, 7}));
  EXPECT_EQ(decoder_with({{"sliding_window", 7}, {"windowed", false}}).windows, (Windows{0, 0, 0}));
  EXPECT_EQ(decoder_with({{"sliding_window", 7}, {"windowed", true}, {"first_windowed_layer", 2}}).windows,
            (Windows{0, 0, 7}));
  EXPECT_EQ(decoder_with({{"sliding_window", 7}, {"first_windowed_layer", 28}}).windows, (Windows{0, 0, 0}));
  const json types = {"sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_EQ(decoder_with({{"sliding_window", 7}, {"layer_types", types}}).windows, (Windows{7, 0, 7}));
}

TEST(Description, RefusesLayerTypesThatItDoesNotKnowOrCannotCount) {
  for (const json& types : {json{"full_attention"}, json{"full_attention", "full_attention", "linear"}}) {
    EXPECT_THROW(decoder_with({{"sliding_window", 7}, {"layer_types", types}}), Error) << types;
  }
}

TEST(Description, HeadsOfAnySizeThatPairs) {
  EXPECT_EQ(decoder_with({{"head_size", 18}}).query_size(), 108);
  EXPECT_THROW(decoder_with({{"head_size", 9}}), Error);
  EXPECT_EQ(decoder_with({{"head_size", 9}, {"partial_rotary", 0.5}}).rope.turned(), 4);
}

}  // namespace
}  // namespace galago::model
