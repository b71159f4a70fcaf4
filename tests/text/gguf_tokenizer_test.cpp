// Tokenizers from GGUF vocabularies: ids are those of llama.cpp's test vectors, wrong vocabularies are
// refused.
#include "text/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <sstream>

#include "base/file_map.h"
#include "galago/error.h"

namespace galago::text {
namespace {

namespace fs = std::filesystem;
const fs::path vectors = fs::path(GALAGO_GOLDENS_DIR) / "tokenizer";

/// The keys and values of one of the files here, which are known to be sound.
class KeyValues {
 public:
  explicit KeyValues(const fs::path& path) : file_(path) {
    rest_ = {reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size()};
    take(4 + 4 + 8);  // magic, version, number of tensors
    for (auto n = number<std::uint64_t>(); n > 0; --n) {
      const std::string key = string();
      value(key, number<std::uint32_t>());
    }
  }

  GgufVocabulary vocabulary() const { return found_; }

 private:
  std::string_view take(std::size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string string() { return std::string(take(number<std::uint64_t>())); }

  void value(const std::string& key, std::uint32_t type) {
    constexpr std::size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 9) {
      const auto element = number<std::uint32_t>();
      for (auto n = number<std::uint64_t>(); n > 0; --n) value(key, element);
    } else if (type == 8) {
      set_string(key, string());
    } else {
      std::int32_t bits = 0;
      const std::string_view bytes = take(sizes[type]);
      std::memcpy(&bits, bytes.data(), std::min(bytes.size(), sizeof bits));
      set_number(key, bits);
    }
  }

  void set_string(const std::string& key, const std::string& text) {
    if (key == "tokenizer.ggml.model") found_.model = text;
    if (key == "tokenizer.ggml.pre") found_.pre = text;
    if (key == "general.architecture") found_.architecture = text;
    if (key == "general.name") found_.name = text;
    if (key == "tokenizer.ggml.tokens") found_.tokens.push_back(text);
    if (key == "tokenizer.ggml.merges") found_.merges.push_back(text);
  }
  void set_number(const std::string& key, std::int32_t bits) {
    float score = 0;
    std::memcpy(&score, &bits, sizeof score);
    if (key == "tokenizer.ggml.scores") found_.scores.push_back(score);
    if (key == "tokenizer.ggml.token_type") found_.token_types.push_back(bits);
    if (key == "tokenizer.ggml.bos_token_id") found_.bos_token_id = bits;
    if (key == "tokenizer.ggml.eos_token_id") found_.eos_token_id = bits;
    if (key == "tokenizer.ggml.unknown_token_id") found_.unknown_token_id = bits;
    if (key == "tokenizer.ggml.add_bos_token") found_.add_bos_token = bits != 0;
    if (key == "tokenizer.ggml.add_eos_token") found_.add_eos_token = bits != 0;
  }

  MappedFile file_;
  std::string_view rest_;
  GgufVocabulary found_;
};

Tokenizer tokenizer_of(const std::string& name) {
  return make_gguf_tokenizer(KeyValues(fs::path(GALAGO_VOCABULARIES_DIR) / (name + ".gguf")).vocabulary(),
                             name);
}

std::vector<std::string> texts() {
  const std::string all = read_text_file(vectors / "texts.inp", 1 << 20);
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  for (std::size_t from = 0; from < all.size();) {
    const std::size_t end = std::min(all.find(separator, from), all.size());
    texts.push_back(all.substr(from, end - from));
    from = end + separator.size();
  }
  return texts;
}

std::vector<std::vector<std::int32_t>> expected_ids(const std::string& name) {
  std::istringstream lines(read_text_file(vectors / (name + ".out"), 1 << 20));
  std::vector<std::vector<std::int32_t>> expected;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    expected.emplace_back();
    for (std::int32_t id = 0; numbers >> id;) expected.back().push_back(id);
  }
  return expected;
}

class TestVectors : public ::testing::TestWithParam<const char*> {};

TEST_P(TestVectors, AllLinesAreEqual) {
  const Tokenizer tokenizer = tokenizer_of(GetParam());
  const auto expected = expected_ids(GetParam());
  const auto all = texts();
  ASSERT_EQ(all.size(), 46U);
  ASSERT_EQ(expected.size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(tokenizer.encode({{all[i], true}}, SpecialTokens::none), expected[i]) << all[i];
    EXPECT_EQ(tokenizer.decode(expected[i]), all[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TestVectors, ::testing::Values("llama-spm", "qwen2", "phi-3"));

TEST(GgufTokenizer, SpecialTokensAreThoseOfTheFile) {
  const Tokenizer phi = tokenizer_of("phi-3");
  EXPECT_EQ(phi.bos(), 1);
  EXPECT_EQ(phi.eos(), 32000);
  EXPECT_EQ(phi.end_tokens(), (std::vector<std::int32_t>{32000, 32007}));  // <|endoftext|>, <|end|>
  // The newline after <|user|> goes with it, as in Phi-3's tokenizer.json.
  EXPECT_EQ(phi.encode("<|user|>\nhi<|end|>", SpecialTokens::add),
            (std::vector<std::int32_t>{1, 32010, 7251, 32007}));
  EXPECT_EQ(phi.encode({{"<|user|>", true}}, SpecialTokens::none).size(), 5U);
  const Tokenizer qwen = tokenizer_of("qwen2");
  EXPECT_EQ(qwen.encode("<|im_start|>a", SpecialTokens::add), (std::vector<std::int32_t>{151644, 64}));
}

GgufVocabulary small() {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "qwen2";
  vocabulary.tokens = {"a", "b", "ab", "<|im_end|>"};
  vocabulary.token_types = {1, 1, 1, 3};
  vocabulary.merges = {"a b"};
  vocabulary.eos_token_id = 3;
  return vocabulary;
}

TEST(GgufTokenizer, ASmallVocabularyIsTaken) {
  EXPECT_EQ(make_gguf_tokenizer(small(), "f").encode("aba<|im_end|>", SpecialTokens::add),
            (std::vector<std::int32_t>{2, 0, 3}));
}

TEST(GgufTokenizer, IdsOfRolesThatNoTokenHasCountAsAbsent) {
  GgufVocabulary vocabulary = small();
  vocabulary.bos_token_id = 4'294'967'295;
  vocabulary.eos_token_id = -1;
  vocabulary.add_bos_token = true;
  const Tokenizer tokenizer = make_gguf_tokenizer(vocabulary, "f");
  EXPECT_EQ(tokenizer.bos(), std::nullopt);
  EXPECT_EQ(tokenizer.eos(), std::nullopt);
  EXPECT_EQ(tokenizer.encode("a", SpecialTokens::add), std::vector<std::int32_t>{0});
}

TEST(GgufTokenizer, EmptyTokensAreHoles) {
  GgufVocabulary vocabulary = small();
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"", "", "ba"});
  vocabulary.token_types.insert(vocabulary.token_types.end(), {1, 5, 1});
  const Tokenizer tokenizer = make_gguf_tokenizer(vocabulary, "f");
  EXPECT_EQ(tokenizer.find("ba"), 6);
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{4, 5, 6}), "ba");
}

void expect_complaint(const std::function<void(GgufVocabulary&)>& damage, const std::string& part) {
  GgufVocabulary vocabulary = small();
  damage(vocabulary);
  try {
    make_gguf_tokenizer(vocabulary, "model.gguf");
    ADD_FAILURE() << "taken, expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::model);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("model.gguf: "), 0U) << error.what();
  }
}

TEST(GgufTokenizer, WrongVocabulariesAreRefused) {
  using V = GgufVocabulary;
  expect_complaint([](V& v) { v.tokens.clear(); }, "tokenizer.ggml.tokens is missing");
  expect_complaint([](V& v) { v.model = "bert"; }, "\"bert\" is not supported");
  expect_complaint([](V& v) { v.pre = "mystery"; }, "\"mystery\" is not known, expected one of default");
  expect_complaint([](V& v) { v.tokens[1] = "a"; }, "the token \"a\" has two ids");
  expect_complaint([](V& v) { v.token_types.pop_back(); }, "token_type has 3 entries for 4 tokens");
  expect_complaint([](V& v) { v.scores = {1}; }, "scores has 1 entries for 4 tokens");
  expect_complaint([](V& v) { v.merges = {"ab"}; }, "merge 0 is \"ab\"");
  expect_complaint([](V& v) { v.merges = {"b a"}; }, "names the token \"ba\"");
  expect_complaint([](V& v) { v.merges.clear(); }, "merges is missing");
  expect_complaint(
      [](V& v) {
        v.model = "llama";
        v.scores.assign(4, std::numeric_limits<float>::quiet_NaN());
      },
      "the score of the token 0 is not a number");
}

}  // namespace
}  // namespace galago::text
