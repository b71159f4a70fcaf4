#include "text/tokenizer_parts.h"

#include "base/fail.h"
#include "base/printable.h"

namespace galago::text {

std::optional<std::int32_t> TokenizerParts::find(std::string_view token) const {
  const auto found = added_ids.find(std::string(token));
  if (found != added_ids.end()) return found->second;
  return model.vocabulary.find(token);
}

void TokenizerParts::add(const AddedToken& token, std::string_view file, VocabularyName name) {
  if (token.content.empty()) fail(ErrorCode::model, "{}: the added token {} is empty", file, token.id);
  if (token.id < 0 || token.id > Vocabulary::largest_id) {
    fail(ErrorCode::model, "{}: the added token \"{}\" has the id {}, expected 0 to {}", file,
         printable(token.content), token.id, Vocabulary::largest_id);
  }
  const std::string* taken = model.vocabulary.token(token.id);
  if (taken == nullptr || *taken == token.content || name == VocabularyName::may_differ) {
    const auto found = added.find(token.id);
    taken = found != added.end() ? &found->second.content : nullptr;
  }
  if (taken != nullptr && *taken != token.content) {
    fail(ErrorCode::model, "{}: the tokens \"{}\" and \"{}\" have the same id {}", file, printable(*taken),
         printable(token.content), token.id);
  }
  const std::optional<std::int32_t> known = find(token.content);
  if (known && *known != token.id) {
    fail(ErrorCode::model, "{}: the token \"{}\" has two ids, {} and {}", file, printable(token.content),
         *known, token.id);
  }
  added.insert_or_assign(token.id, token);
  added_ids.insert_or_assign(token.content, token.id);
}

void TokenizerParts::build_finders() {
  for (const auto& [id, token] : added) {
    if (token.normalized) {
      in_normalized_text.add(normalize(normalizer, token.content, Place::start), token);
    } else {
      in_text.add(token.content, token);
    }
  }
}

}  // namespace galago::text
