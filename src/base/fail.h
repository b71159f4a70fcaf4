// Throwing the one error type with a formatted sentence.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "galago/error.h"

namespace galago {

/// Throws Error{code, formatted sentence}. `fail(ErrorCode::model, "{}: tensor {} is missing", file, name)`.
template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> sentence, Args&&... args) {
  throw Error(code, fmt::format(sentence, std::forward<Args>(args)...));
}

}  // namespace galago
