// Ids and texts are those of the reference implementations.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "base/json.h"
#include "support/golden.h"
#include "text/stream_decoder.h"
#include "text/unicode.h"

namespace galago::text {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

std::string streamed(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string piece = decoder.append(id);
    EXPECT_TRUE(is_utf8(piece));
    text += piece;
  }
  return text + decoder.finish();
}

std::string random_text(std::mt19937& random, const std::vector<std::string>& parts) {
  std::string text;
  for (std::size_t n = random() % 40; n > 0; --n) text += parts[random() % parts.size()];
  return text;
}

class ReferenceCases : public ::testing::TestWithParam<const char*> {};

TEST_P(ReferenceCases, EncodesAndDecodesAsTheReference) {
  const auto folder = goldens / "tokenizers" / GetParam();
  const Tokenizer tokenizer = load_tokenizer(folder);
  const Json cases = parse_json_file(folder / "cases.json");
  ASSERT_FALSE(cases.at("encode").empty());
  for (const Json& entry : cases.at("encode")) {
    const auto text = entry.at("text").get<std::string>();
    EXPECT_EQ(tokenizer.encode(text, SpecialTokens::add), entry.at("ids").get<std::vector<std::int32_t>>())
        << text;
  }
  for (const Json& entry : cases.at("decode")) {
    const auto ids = entry.at("ids").get<std::vector<std::int32_t>>();
    EXPECT_EQ(tokenizer.decode(ids), entry.at("text").get<std::string>());
    EXPECT_EQ(streamed(tokenizer, ids), entry.at("text").get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceCases,
                         ::testing::Values("internvl2-phi3", "internvl2-internlm2", "text-qwen2"));

class Checkpoints : public ::testing::TestWithParam<const char*> {};

TEST_P(Checkpoints, GeneratedIdsDecodeToTheGoldenText) {
  const testing::Golden golden(goldens / GetParam());
  const Tokenizer tokenizer = load_tokenizer(golden.folder());
  for (const auto& entry : golden.cases()) {
    const auto ids = golden.tensor(entry.at("name").get<std::string>() + ".generated_ids").integers();
    const std::vector<std::int32_t> tokens(ids.begin(), ids.end());
    EXPECT_EQ(tokenizer.decode(tokens), entry.at("text").get<std::string>());
    EXPECT_EQ(streamed(tokenizer, tokens), entry.at("text").get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(All, Checkpoints,
                         ::testing::Values("llava-1.5", "llava-1.5-original", "text-llama"));

TEST(Tokenizer, PromptsOfATextModelHaveTheGoldenIds) {
  const testing::Golden golden(goldens / "text-llama");
  const Tokenizer tokenizer = load_tokenizer(golden.folder());
  for (const auto& entry : golden.cases()) {
    const auto ids = golden.tensor(entry.at("name").get<std::string>() + ".input_ids").integers();
    EXPECT_EQ(tokenizer.encode(entry.at("prompt").get<std::string>(), SpecialTokens::add),
              std::vector<std::int32_t>(ids.begin(), ids.end()));
  }
}

TEST(Tokenizer, TokenizerJsonAndTokenizerModelAgree) {
  const Tokenizer by_json = load_tokenizer(goldens / "llava-1.5");
  const Tokenizer by_model = load_tokenizer(goldens / "llava-1.5-original");
  const std::vector<std::string> parts = {"a", "b",  " ", "  ", "\n",   "the ", "assistant",
                                          "é", "東", "😀", "1",  "</s>", "USER:"};
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    const std::string text = random_text(random, parts);
    const auto ids = by_json.encode(text, SpecialTokens::add);
    EXPECT_EQ(by_model.encode(text, SpecialTokens::add), ids) << text;
    EXPECT_EQ(by_model.decode(ids), by_json.decode(ids));
  }
}

TEST(Tokenizer, TextSurvivesTheRoundTrip) {
  const std::vector<std::string> parts = {"naïve ", "東京", "😀",    " ",    "\n\t", "👨\u200d👩\u200d👧",
                                          "مرحبا",  "Ⅷ",    "\x01", "x  y", "हिन्दी"};
  std::mt19937 random(4);
  for (const char* folder :
       {"llava-1.5", "llava-1.5-original", "tokenizers/internvl2-internlm2", "tokenizers/text-qwen2"}) {
    const Tokenizer tokenizer = load_tokenizer(goldens / folder);
    for (int i = 0; i < 200; ++i) {
      const std::string text = random_text(random, parts);
      EXPECT_EQ(tokenizer.decode(tokenizer.encode({{text, true}}, SpecialTokens::add)), text) << folder;
    }
  }
}

TEST(Tokenizer, SpecialTokensInTheTextOfAUserStayText) {
  const Tokenizer tokenizer = load_tokenizer(goldens / "llava-1.5");
  const auto end = tokenizer.find("</s>");
  ASSERT_TRUE(end);
  EXPECT_EQ(tokenizer.eos(), end);
  const auto n_ends = [&](const Segments& segments) {
    const auto ids = tokenizer.encode(segments, SpecialTokens::none);
    return std::count(ids.begin(), ids.end(), *end);
  };
  EXPECT_EQ(n_ends({{"a</s>b", false}}), 1);
  EXPECT_EQ(n_ends({{"a", false}, {"</s>", true}, {"b", false}}), 0);
  EXPECT_EQ(n_ends({{"a<", false}, {"/s>", true}}), 0);
  EXPECT_EQ(n_ends({{"a</", true}, {"s></s>", false}}), 1);
  EXPECT_EQ(n_ends({{"a</", false}, {"s>", false}}), 1);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode({{"a</s>b", true}}, SpecialTokens::none)), "a</s>b");
}

TEST(Tokenizer, SegmentsLeaveNoTraceInTheIdsOfOrdinaryText) {
  const Tokenizer tokenizer = load_tokenizer(goldens / "llava-1.5");
  EXPECT_EQ(tokenizer.encode({{"How ma", true}, {"ny bi", false}, {"rds?", true}}, SpecialTokens::add),
            tokenizer.encode("How many birds?", SpecialTokens::add));
}

TEST(Tokenizer, TheBeginningOfTextIsAddedOnce) {
  const Tokenizer tokenizer = load_tokenizer(goldens / "llava-1.5");
  const auto bos = tokenizer.bos();
  ASSERT_TRUE(bos);
  const auto with = tokenizer.encode("a", SpecialTokens::add);
  EXPECT_EQ(with.front(), *bos);
  EXPECT_EQ(tokenizer.encode("<s>a", SpecialTokens::add), with);
  EXPECT_EQ(tokenizer.encode("a", SpecialTokens::none),
            std::vector<std::int32_t>(with.begin() + 1, with.end()));
  EXPECT_EQ(tokenizer.encode("", SpecialTokens::add), std::vector<std::int32_t>{*bos});
}

TEST(Tokenizer, BytesThatAreNotUtf8CountAsReplacementCharacters) {
  for (const char* folder : {"llava-1.5", "tokenizers/text-qwen2"}) {
    const Tokenizer tokenizer = load_tokenizer(goldens / folder);
    EXPECT_EQ(tokenizer.encode("a\xFF\xE6\x9D", SpecialTokens::none),
              tokenizer.encode("a\uFFFD\uFFFD", SpecialTokens::none));
  }
}

TEST(Tokenizer, IdsWithoutATokenAreSkipped) {
  const Tokenizer tokenizer = load_tokenizer(goldens / "llava-1.5");
  const auto past_the_end = static_cast<std::int32_t>(tokenizer.size());
  EXPECT_EQ(tokenizer.size(), 450U);
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{-200, past_the_end, 1 << 30}), "");
}

TEST(Tokenizer, ALongTextWithoutSpacesIsEncodedInReasonableTime) {
  const std::string text(1 << 18, 'a');
  for (const char* folder : {"llava-1.5", "llava-1.5-original", "tokenizers/text-qwen2"}) {
    EXPECT_FALSE(load_tokenizer(goldens / folder).encode(text, SpecialTokens::none).empty());
  }
}

}  // namespace
}  // namespace galago::text
