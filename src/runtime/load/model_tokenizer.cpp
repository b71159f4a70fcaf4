#include "runtime/load/model_tokenizer.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fail.h"
#include "base/file_map.h"
#include "checkpoint/gguf.h"
#include "text/gguf_tokenizer.h"

namespace galago::runtime {
namespace {

using checkpoint::Gguf;
using checkpoint::GgufType;

/// Reads keys "tokenizer.ggml.*" of one file.
struct VocabularyKeys {
  const Gguf& gguf;
  const std::string& file;

  static std::string key(std::string_view name) { return std::string("tokenizer.ggml.").append(name); }

  std::string text(std::string_view name) const {
    const std::string_view* value = gguf.find_string(key(name), file);
    return value == nullptr ? std::string() : std::string(*value);
  }
  std::vector<std::string> texts(std::string_view name) const {
    const auto* list = gguf.find_array(key(name), GgufType::string, file);
    if (list == nullptr) return {};
    return {list->strings.begin(), list->strings.end()};
  }
  template <class T>
  std::vector<T> numbers(std::string_view name, GgufType type) const {
    std::vector<T> values;
    const auto* list = gguf.find_array(key(name), type, file);
    for (std::uint64_t i = 0; list != nullptr && i < list->count; ++i) {
      values.push_back(static_cast<T>(list->number(i)));
    }
    return values;
  }
  std::optional<std::int64_t> id(std::string_view name) const { return gguf.find_integer(key(name), file); }
  std::optional<bool> flag(std::string_view name) const { return gguf.find_flag(key(name), file); }
};

std::string general(const Gguf& gguf, std::string_view key, const std::string& file) {
  const std::string_view* value = gguf.find_string(key, file);
  return value == nullptr ? std::string() : std::string(*value);
}

text::Tokenizer load_from_gguf(const std::filesystem::path& path) {
  const std::string file = path.string();
  const MappedFile mapped(path);
  const Gguf gguf = checkpoint::read_gguf(mapped.bytes(), file);
  const VocabularyKeys keys{gguf, file};
  text::GgufVocabulary vocabulary;
  vocabulary.model = keys.text("model");
  vocabulary.pre = keys.text("pre");
  vocabulary.architecture = general(gguf, "general.architecture", file);
  vocabulary.name = general(gguf, "general.name", file);
  vocabulary.tokens = keys.texts("tokens");
  vocabulary.scores = keys.numbers<float>("scores", GgufType::f32);
  vocabulary.token_types = keys.numbers<std::int32_t>("token_type", GgufType::i32);
  vocabulary.merges = keys.texts("merges");
  vocabulary.bos_token_id = keys.id("bos_token_id");
  vocabulary.eos_token_id = keys.id("eos_token_id");
  vocabulary.eot_token_id = keys.id("eot_token_id");
  vocabulary.unknown_token_id = keys.id("unknown_token_id");
  vocabulary.add_bos_token = keys.flag("add_bos_token");
  vocabulary.add_eos_token = keys.flag("add_eos_token");
  vocabulary.add_space_prefix = keys.flag("add_space_prefix");
  return text::make_gguf_tokenizer(vocabulary, file);
}

std::optional<text::ChatTemplate> find_in_gguf(const std::filesystem::path& path) {
  const std::string file = path.string();
  const MappedFile mapped(path);
  const Gguf gguf = checkpoint::read_gguf(mapped.bytes(), file);
  const std::string_view* jinja = gguf.find_string("tokenizer.chat_template", file);
  if (jinja == nullptr) return std::nullopt;
  return text::ChatTemplate{file, std::string(*jinja)};
}

}  // namespace

text::Tokenizer load_model_tokenizer(const std::filesystem::path& model) {
  try {
    return std::filesystem::is_regular_file(model) ? load_from_gguf(model) : text::load_tokenizer(model);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::io) throw Error(ErrorCode::model, error.what());
    throw;
  }
}

std::optional<text::ChatTemplate> find_model_template(const std::filesystem::path& model) {
  return std::filesystem::is_regular_file(model) ? find_in_gguf(model) : text::find_chat_template(model);
}

}  // namespace galago::runtime
