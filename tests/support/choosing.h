// Tokens chosen from given logits by a backend.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "memory/arena.h"

namespace galago::test {

/// A token for each row of logits [choices.size(), vocab_size], in memory that was planned.
inline std::vector<std::int32_t> choose(backend::Backend& backend, std::span<const float> logits,
                                        std::span<const backend::TokenChoice> choices) {
  using memory::RegionId;
  const auto rows = static_cast<std::int64_t>(choices.size());
  std::vector<std::int32_t> tokens(choices.size(), -1);
  const auto run = [&](memory::Arena& arena) {
    backend::Queue queue(arena.mode());
    backend::Execution exec{arena, queue};
    const Matrix matrix =
        arena.matrix(RegionId::activations, rows, static_cast<std::int64_t>(logits.size()) / rows);
    if (arena.mode() == memory::Mode::run) {
      auto* const to = reinterpret_cast<std::byte*>(matrix.data);
      const auto bytes = std::as_bytes(logits);
      if (arena.device() != nullptr) {
        arena.device()->upload(to, bytes);
      } else {
        std::copy(bytes.begin(), bytes.end(), to);
      }
    }
    backend.choose(exec, matrix, choices, tokens);
  };
  memory::Arena plan = memory::Arena::planning(memory::lasting_by_default(), backend.device_memory());
  run(plan);
  memory::Arena arena = memory::Arena::laid_out(plan.occupancy(), backend.device_memory());
  run(arena);
  return tokens;
}

}  // namespace galago::test
