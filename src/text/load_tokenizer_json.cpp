#include "text/load_tokenizer_json.h"

#include "base/fail.h"
#include "base/json.h"
#include "base/printable.h"
#include "text/tokenizer_json_steps.h"

namespace galago::text {
namespace {

class Loader {
 public:
  explicit Loader(const std::filesystem::path& path) : file_(path.string()), json_(parse_json_file(path)) {
    if (!json_.is_object())
      fail(ErrorCode::model, "{}: expected an object, found {}", file_, describe_json(json_));
  }

  TokenizerParts run() {
    read_model(section("model"));
    read_added_tokens(section("added_tokens"));
    parts_.normalizer = read_normalizers(section("normalizer"), file_);
    parts_.pre_tokenizer = read_pre_tokenizers(section("pre_tokenizer"), file_);
    parts_.decoder = read_decoders(section("decoder"), file_);
    read_post_processor(section("post_processor"));
    return std::move(parts_);
  }

 private:
  const Json& section(const char* key) const {
    static const Json none;
    const auto found = json_.find(key);
    return found == json_.end() ? none : *found;
  }

  void read_model(const Json& model) {
    if (!model.is_object())
      fail(ErrorCode::model, "{}: model is {}, expected an object", file_, describe_json(model));
    // Files up to 2020 leave the type of a BPE model out.
    const std::string type = model.contains("type") ? get_string(model, "type", file_) : "BPE";
    if (type != "BPE") {
      fail(ErrorCode::model, "{}: the model \"{}\" is not supported, expected BPE", file_, printable(type));
    }
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (model.contains(key) && !model.at(key).is_null() && model.at(key) != "") {
        fail(ErrorCode::model, "{}: model.{} is {}, which is not supported", file_, key,
             describe_json(model.at(key)));
      }
    }
    read_vocabulary(model);
    read_merges(model);
    BpeModel& bpe = parts_.model;
    bpe.byte_fallback = bool_or(model, "byte_fallback", false, file_);
    bpe.fuse_unknown = bool_or(model, "fuse_unk", false, file_);
    bpe.ignore_merges = bool_or(model, "ignore_merges", false, file_);
    if (model.contains("unk_token") && !model.at("unk_token").is_null()) {
      bpe.unknown = known_token(get_string(model, "unk_token", file_), "model.unk_token");
    }
  }

  void read_vocabulary(const Json& model) {
    const Json* vocabulary = find_json(model, "vocab");
    if (vocabulary == nullptr || !vocabulary->is_object()) {
      fail(ErrorCode::model, "{}: model.vocab is missing or no object", file_);
    }
    for (const auto& [token, id] : vocabulary->items()) {
      if (!id.is_number_integer() ||
          (id.is_number_unsigned() && id.get<std::uint64_t>() > Vocabulary::largest_id)) {
        fail(ErrorCode::model, "{}: the id of the token \"{}\" is {}, expected an integer from 0 to {}",
             file_, printable(token), describe_json(id), Vocabulary::largest_id);
      }
      parts_.model.vocabulary.add(token, id.get<std::int64_t>(), file_);
    }
  }

  std::int32_t known_token(const std::string& token, std::string_view where) const {
    const auto id = parts_.model.vocabulary.find(token);
    if (!id) {
      fail(ErrorCode::model, "{}: {} names the token \"{}\", which is not in the vocabulary", file_, where,
           printable(token));
    }
    return *id;
  }

  void read_merges(const Json& model) {
    const Json* merges = find_json(model, "merges");
    if (merges == nullptr || !merges->is_array()) {
      fail(ErrorCode::model, "{}: model.merges is missing or no array", file_);
    }
    RankedMerges ranked;
    for (std::size_t rank = 0; rank < merges->size(); ++rank) {
      const auto [left, right] = read_pair((*merges)[rank], rank);
      const std::string where = fmt::format("merge {}", rank);
      const std::int32_t left_id = known_token(left, where);
      const std::int32_t right_id = known_token(right, where);
      ranked.set(left_id, right_id, {static_cast<std::int32_t>(rank), known_token(left + right, where)});
    }
    parts_.model.merges = std::move(ranked);
  }

  /// "a b", or since the end of 2024 ["a", "b"].
  std::pair<std::string, std::string> read_pair(const Json& merge, std::size_t rank) const {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      return {merge[0].get<std::string>(), merge[1].get<std::string>()};
    }
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const std::size_t space = text.find(' ');
      if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
        return {text.substr(0, space), text.substr(space + 1)};
      }
    }
    fail(ErrorCode::model, "{}: merge {} is {}, expected two tokens", file_, rank, describe_json(merge));
  }

  void read_added_tokens(const Json& list) {
    if (list.is_null()) return;
    if (!list.is_array())
      fail(ErrorCode::model, "{}: added_tokens is {}, expected an array", file_, describe_json(list));
    for (const Json& json : list) {
      AddedToken token;
      token.content = get_string(json, "content", file_);
      token.id = static_cast<std::int32_t>(get_int(json, "id", 0, Vocabulary::largest_id, file_));
      token.special = bool_or(json, "special", false, file_);
      token.lstrip = bool_or(json, "lstrip", false, file_);
      token.rstrip = bool_or(json, "rstrip", false, file_);
      token.single_word = bool_or(json, "single_word", false, file_);
      token.normalized = bool_or(json, "normalized", !token.special, file_);
      parts_.add(token, file_);
    }
  }

  void read_post_processor(const Json& json) {
    if (json.is_null()) return;
    const std::string type = get_string(json, "type", file_);
    if (type == "ByteLevel") return;  // it only moves offsets
    if (type == "Sequence") {
      const Json* list = find_json(json, "processors");
      if (list == nullptr || !list->is_array()) {
        fail(ErrorCode::model, "{}: processors of a Sequence is missing or no array", file_);
      }
      for (const Json& step : *list) read_post_processor(step);
    } else if (type == "TemplateProcessing") {
      read_template(json);
    } else {
      fail(ErrorCode::model,
           "{}: the post_processor \"{}\" is not supported, expected TemplateProcessing, ByteLevel or "
           "Sequence",
           file_, printable(type));
    }
  }

  void read_template(const Json& json) {
    const Json* single = find_json(json, "single");
    if (single == nullptr || !single->is_array()) {
      fail(ErrorCode::model, "{}: single of a TemplateProcessing is missing or no array", file_);
    }
    std::size_t n_texts = 0;
    for (const Json& part : *single) {
      if (find_json(part, "Sequence") != nullptr) {
        ++n_texts;
        continue;
      }
      const std::string token = get_string(part, "SpecialToken.id", file_);
      const auto id = parts_.find(token);
      if (!id) {
        fail(ErrorCode::model, "{}: the template names the token \"{}\", which there is not", file_,
             printable(token));
      }
      (n_texts == 0 ? parts_.prefix : parts_.suffix).push_back(*id);
    }
    if (n_texts != 1) fail(ErrorCode::model, "{}: the template has {} texts, expected one", file_, n_texts);
  }

  std::string file_;
  Json json_;
  TokenizerParts parts_;
};

}  // namespace

TokenizerParts load_tokenizer_json(const std::filesystem::path& path) {
  return Loader(path).run();
}

}  // namespace galago::text
