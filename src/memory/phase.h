// The phases of a model's life, in the order in which a request goes through them.
#pragma once

#include <cstddef>
#include <string_view>

namespace galago::memory {

enum class Phase { load, encode, prefill, decode };
inline constexpr std::size_t n_phases = 4;

/// "load", "encode", "prefill", "decode"
std::string_view name_of(Phase phase);

}  // namespace galago::memory
