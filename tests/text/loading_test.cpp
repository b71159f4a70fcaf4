// Files that are wrong are refused with a sentence, whatever is wrong with them.
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/file_map.h"
#include "base/json.h"
#include "galago/error.h"
#include "text/sentencepiece_file.h"
#include "text/tokenizer.h"

namespace galago::text {
namespace {

namespace fs = std::filesystem;
const fs::path goldens = GALAGO_GOLDENS_DIR;

class Loading : public ::testing::Test {
 protected:
  Loading() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / (std::string("galago_text_") + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~Loading() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  /// What the loader says of the files; empty where it takes them.
  std::string complaint() const {
    try {
      load_tokenizer(folder_);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::model);
      return error.what();
    }
  }

  void expect_complaint(const Json& tokenizer, const std::string& part) {
    write("tokenizer.json", tokenizer.dump());
    EXPECT_NE(complaint().find(part), std::string::npos) << complaint();
  }

  fs::path folder_;
};

Json small_tokenizer() {
  return {{"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", {"a b"}}}}};
}

std::string model_bytes() {
  return read_text_file(goldens / "llava-1.5-original" / "tokenizer.model", 1 << 20);
}

TEST_F(Loading, ASmallTokenizerIsTaken) {
  write("tokenizer.json", small_tokenizer().dump());
  EXPECT_EQ(complaint(), "");
  EXPECT_EQ(load_tokenizer(folder_).encode("aabx", SpecialTokens::add), (std::vector<std::int32_t>{0, 2}));
}

TEST_F(Loading, MissingFilesAreNamed) {
  EXPECT_NE(complaint().find("tokenizer.model"), std::string::npos);
}

TEST_F(Loading, MalformedJsonIsRefused) {
  write("tokenizer.json", "{\"model\": ");
  EXPECT_NE(complaint().find("tokenizer.json: line 1"), std::string::npos);
  write("tokenizer.json", "[]");
  EXPECT_NE(complaint().find("expected an object"), std::string::npos);
}

TEST_F(Loading, WrongVocabulariesAreRefused) {
  Json json = small_tokenizer();
  json["model"]["vocab"]["b"] = 0;
  expect_complaint(json, "have the same id 0");
  json["model"]["vocab"]["b"] = -1;
  expect_complaint(json, "has the id -1");
  json["model"]["vocab"]["b"] = "one";
  expect_complaint(json, "expected an integer");
  json["model"]["vocab"]["b"] = 4'000'000'000U;
  expect_complaint(json, "expected an integer");
  json["model"].erase("vocab");
  expect_complaint(json, "model.vocab is missing");
}

TEST_F(Loading, WrongMergesAreRefused) {
  Json json = small_tokenizer();
  json["model"]["merges"] = {"a c"};
  expect_complaint(json, "merge 0 names the token \"c\"");
  json["model"]["merges"] = {"b a"};
  expect_complaint(json, "names the token \"ba\"");
  json["model"]["merges"] = {"ab"};
  expect_complaint(json, "expected two tokens");
  json["model"]["merges"] = 3;
  expect_complaint(json, "model.merges is missing or no array");
}

TEST_F(Loading, UnknownTypesAreNamed) {
  Json json = small_tokenizer();
  json["model"]["type"] = "WordPiece";
  expect_complaint(json, "WordPiece");
  for (const char* section : {"normalizer", "pre_tokenizer", "decoder", "post_processor"}) {
    json = small_tokenizer();
    json[section] = {{"type", "Mystery"}};
    expect_complaint(json, "Mystery");
    json[section] = 7;
    expect_complaint(json, "type is missing");
  }
}

TEST_F(Loading, WrongRegularExpressionsAreRefused) {
  Json json = small_tokenizer();
  json["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
  expect_complaint(json, "regular expression");
}

TEST_F(Loading, ATemplateNamesTokensThatExist) {
  Json json = small_tokenizer();
  json["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}}};
  expect_complaint(json, "the template names the token \"<s>\"");
}

TEST_F(Loading, AddedTokensDoNotShareIds) {
  Json json = small_tokenizer();
  json["added_tokens"] = {{{"id", 1}, {"content", "<s>"}, {"special", true}}};
  expect_complaint(json, "have the same id 1");
  json["added_tokens"] = {{{"id", 7}, {"content", "a"}}};
  expect_complaint(json, "two ids");
}

TEST_F(Loading, AVocabularyMayHaveHoles) {
  Json json = small_tokenizer();
  json["model"]["vocab"]["c"] = 70'000;
  write("tokenizer.json", json.dump());
  const Tokenizer tokenizer = load_tokenizer(folder_);
  EXPECT_EQ(tokenizer.encode("abc", SpecialTokens::add), (std::vector<std::int32_t>{2, 70'000}));
  EXPECT_EQ(tokenizer.size(), 70'001U);
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{3, 70'000, 2'147'483'647, -5}), "c");
}

/// A user-defined piece, as it stands in a tokenizer.model.
std::string user_defined_piece(const std::string& text) {
  std::string piece = "\x0a";
  piece += static_cast<char>(text.size());
  piece += text;
  piece += std::string("\x15\0\0\0\0\x18\4", 7);  // score 0, type 4
  std::string field = "\x0a";
  field += static_cast<char>(piece.size());
  return field += piece;
}

/// InternLM2 as it is published: the marks of chats are pieces of tokenizer.model, and tokenizer_config.json
/// calls them otherwise.
class RenamedPieces : public Loading {
 protected:
  RenamedPieces() {
    std::string model =
        read_text_file(goldens / "tokenizers" / "internvl2-internlm2" / "tokenizer.model", 1 << 20);
    for (const char* text : {"[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]", "#@#"}) {
      model += user_defined_piece(text);
    }
    write("tokenizer.model", model);
    write("tokenizer_config.json", Json{{"bos_token", "<s>"},
                                        {"added_tokens_decoder",
                                         {{"448", {{"content", "<|im_end|>"}, {"special", true}}},
                                          {"449", {{"content", "<|im_start|>"}, {"special", true}}},
                                          {"451", {{"content", "<img>"}, {"special", true}}}}}}
                                       .dump());
    write("added_tokens.json", Json{{"<|im_start|>", 449}, {"<img>", 451}}.dump());
    write("special_tokens_map.json",
          Json{{"additional_special_tokens", {"<|im_start|>", "[UNUSED_TOKEN_146]"}}}.dump());
  }
};

TEST_F(RenamedPieces, BothNamesAreFoundInControlText) {
  const Tokenizer tokenizer = load_tokenizer(folder_);
  EXPECT_EQ(tokenizer.encode("<|im_start|>[UNUSED_TOKEN_146]\n<|im_end|><img>", SpecialTokens::none),
            (std::vector<std::int32_t>{449, 449, 3, 448, 451}));
  EXPECT_EQ(tokenizer.find("<|im_start|>"), 449);
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{449, 3, 450, 448}), "\n#@#");
}

TEST_F(RenamedPieces, MarksInTheWordsOfAUserStayTextAndOtherPiecesDoNot) {
  const Tokenizer tokenizer = load_tokenizer(folder_);
  for (const char* mark : {"<|im_start|>", "[UNUSED_TOKEN_146]", "</s>"}) {
    const auto ids = tokenizer.encode({{mark, true}}, SpecialTokens::none);
    EXPECT_GT(ids.size(), 1U) << mark;
    for (const std::int32_t id : ids) EXPECT_FALSE(id == 2 || id == 448 || id == 449) << mark;
    EXPECT_EQ(tokenizer.decode(ids), mark);
  }
  EXPECT_EQ(tokenizer.encode({{"\n#@#\n", true}}, SpecialTokens::none),
            (std::vector<std::int32_t>{3, 450, 3}));
}

TEST_F(RenamedPieces, AnIdHasOneAddedToken) {
  write("added_tokens.json", Json{{"<|im_start|>", 452}}.dump());
  EXPECT_NE(complaint().find("\"<|im_start|>\" has two ids, 449 and 452"), std::string::npos) << complaint();
}

TEST_F(Loading, ATruncatedModelIsRefused) {
  const std::string bytes = model_bytes();
  for (std::size_t size = 0; size + 1 < bytes.size(); size += 97) {
    write("tokenizer.model", bytes.substr(0, size));
    EXPECT_NE(complaint(), "") << size;
  }
}

TEST_F(Loading, AUnigramModelIsRefusedByName) {
  write("tokenizer.model", std::string("\x0a\x03\x0a\x01"
                                       "a"
                                       "\x12\x02\x18\x01",
                                       9));
  EXPECT_NE(complaint().find("unigram"), std::string::npos) << complaint();
}

TEST_F(Loading, MutatedFilesAreTakenOrRefusedButNothingElse) {
  std::mt19937 random(11);
  const std::string json = read_text_file(goldens / "llava-1.5" / "tokenizer.json", 1 << 20);
  const std::string model = model_bytes();
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    const bool is_json = i % 2 == 0;
    std::string bytes = is_json ? json : model;
    for (std::size_t n = 1 + random() % 4; n > 0; --n)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    fs::remove(folder_ / (is_json ? "tokenizer.model" : "tokenizer.json"));
    write(is_json ? "tokenizer.json" : "tokenizer.model", bytes);
    try {
      const Tokenizer tokenizer = load_tokenizer(folder_);
      tokenizer.decode(tokenizer.encode("The quick <image> </s>\n東", SpecialTokens::add));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace galago::text
