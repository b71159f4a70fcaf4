#include "text/vocabulary.h"

#include <algorithm>

#include "base/fail.h"
#include "base/printable.h"

namespace galago::text {

void Vocabulary::add(std::string_view token, std::int64_t id, std::string_view file) {
  if (id < 0 || id > largest_id) {
    fail(ErrorCode::model, "{}: the token \"{}\" has the id {}, expected 0 to {}", file, printable(token), id,
         largest_id);
  }
  const auto id32 = static_cast<std::int32_t>(id);
  const auto [by_id, id_is_new] = tokens_.emplace(id32, token);
  if (!id_is_new) {
    fail(ErrorCode::model, "{}: the tokens \"{}\" and \"{}\" have the same id {}", file,
         printable(by_id->second), printable(token), id);
  }
  if (!ids_.emplace(token, id32).second) {
    fail(ErrorCode::model, "{}: the token \"{}\" has two ids", file, printable(token));
  }
  size_ = std::max(size_, static_cast<std::size_t>(id) + 1);
}

}  // namespace galago::text
