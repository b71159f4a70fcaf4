// Requests as Engine::generate_all() asks for them.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "galago/engine.h"

namespace galago::test {

/// One after the other; `next` counts those handed out. Both outlive what is returned.
inline NextTask hand_out(const std::vector<Request>& requests, std::size_t& next) {
  return [&requests, &next]() -> std::optional<Task> {
    if (next == requests.size()) return std::nullopt;
    return Task{requests[next++]};
  };
}

}  // namespace galago::test
